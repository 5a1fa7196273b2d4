"""IPython reads this before a notebook's first cell: a notebook that the tests run reaches this machine alone.

No cell may lean on the network without a test that fails, on machines with a network too. The names of this file vanish
at its end, since the notebook would share them. Programs that a cell starts are not held back.
"""


def _stay_here():
    import ipaddress
    import socket

    def refuse(host):
        raise OSError(f"a notebook that the tests run asked the network for {host}; it must do without one")

    def near(host):
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host in (None, "", "localhost")

    def within(act):
        def connect(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not near(address[0]):
                refuse(address[0])
            return act(self, address)
        return connect

    def looked_up(host, *arguments, **options):
        return look_up(host, *arguments, **options) if near(host) else refuse(host)

    look_up, socket.getaddrinfo = socket.getaddrinfo, looked_up
    socket.socket.connect, socket.socket.connect_ex = within(socket.socket.connect), within(socket.socket.connect_ex)


_stay_here()
del _stay_here
