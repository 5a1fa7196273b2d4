// Tells require.js where the widgets' scripts lie, so that a page with a widget asks no server for anything.
(() => {
  const base = new URL("vendor/widgets/", document.currentScript.src).href;
  requirejs.config({ paths: { anywidget: base + "anywidget", "@jupyter-widgets/html-manager/dist": base.slice(0, -1) } });
})();
