// Plotly's widget, asked for and read once a page. anywidget gives a script two seconds to start, which plotly's 5 MB,
// once for each figure, exceed on a busy machine: the figure then stays away. So what starts is this, and only drawing
// waits for plotly. In the figures' state it would hold up a page that is loaded again: the widget manager waits four
// seconds for all states together.
const PATIENCE = 3000; // ms; later another figure asks too, for the kernel of the first may be gone
const page = (globalThis.workbenchPlotly ??= { asked: -Infinity });
page.read ??= new Promise((resolve) => (page.resolve = resolve));

function load(model) {
  if (!page.found && performance.now() - page.asked > PATIENCE) {
    page.asked = performance.now();
    model.on("msg:custom", ({ plotly }) => {
      if (plotly && !page.found) {
        page.found = true;
        page.resolve(import(URL.createObjectURL(new Blob([plotly], { type: "text/javascript" }))));
      }
    });
    model.send({ ask: "plotly" });
  }
  return page.read;
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
