// Tells require.js where the widgets' scripts lie, so that a page with a widget asks no server for anything, and to wait
// for them as long as it takes: by itself it gives up after seven seconds, which a slow connection can need.
(() => {
  const base = new URL("vendor/widgets/", document.currentScript.src).href;
  requirejs.config({ waitSeconds: 0, paths: { anywidget: base + "anywidget", "@jupyter-widgets/html-manager/dist": base.slice(0, -1) } });
})();
