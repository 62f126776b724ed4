// Plotly's widget, asked for and read once a page. anywidget gives a script two seconds to start, which plotly's 5 MB,
// once for each figure, exceed on a busy machine: the figure then stays away. So what starts is this, and only drawing
// waits for plotly. In the figures' state it would hold up a page that is loaded again: the widget manager waits four
// seconds for all states together.
const PATIENCE = 3000; // ms; later it is asked again, for the kernel of the first figure may be gone, or its answer lost
const page = (globalThis.workbenchPlotly ??= { asked: -Infinity, patience: PATIENCE });
page.read ??= new Promise((resolve) => (page.resolve = resolve));

function load(model) {
  model.on("msg:custom", ({ plotly }) => {
    if (plotly && !page.found) {
      page.found = true;
      page.resolve(import(URL.createObjectURL(new Blob([plotly], { type: "text/javascript" }))));
    }
  });
  ask(model);
  return page.read;
}

function ask(model) {
  if (page.found) return;
  if (performance.now() - page.asked > page.patience) {
    if (page.asked > 0) page.patience *= 2; // 5 MB each, of a kernel that may be busy
    page.asked = performance.now();
    model.send({ ask: "plotly" });
  }
  setTimeout(() => ask(model), PATIENCE);
}

export default () => {
  let started;
  async function start(context) {
    const { default: made, FigureView } = await load(context.model);
    // After each drawing plotly would work out all its defaults and send them; the kernel has no use for them, and each
    // message has JupyterLab show that it is busy.
    FigureView.prototype._sendTraceDeltas = FigureView.prototype._sendLayoutDelta = () => {};
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
