"""zecon_lite."""
