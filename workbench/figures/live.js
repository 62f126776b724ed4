// Plotly's widget, read once a page. anywidget gives a script two seconds to start, which plotly's 5 MB, once for each
// figure, exceed on a busy machine: the figure then stays away. So what starts is this, and only drawing waits for plotly.
const read = (globalThis.workbenchScripts ??= new Map());

function load(script) {
  if (!read.has(script)) {
    read.set(script, import(URL.createObjectURL(new Blob([script], { type: "text/javascript" }))));
  }
  return read.get(script);
}

export default () => {
  let started;
  async function start(context) {
    const { default: made } = await load(context.model.get("script"));
    const widget = typeof made === "function" ? await made() : made;
    await widget.initialize?.(context);
    return widget;
  }
  return {
    initialize(context) {
      started = start(context);
      started.catch(() => {}); // it is told where the figure is drawn
    },
    async render(context) {
      return (await started).render(context);
    },
  };
};
