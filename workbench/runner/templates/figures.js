// JSON.parse never runs what it reads. newPlot takes frames and plays none; a slider's own step is then shown.
const methods = ['animate', 'restyle', 'relayout', 'update'];

// Plotly's sliders and menus take no keyboard: the browser's take their place.
function control(drawn, holder, input, name, steps, active = 0) {
  const label = document.createElement('label'), said = document.createElement('output');
  const show = () => {
    const step = steps[input.value] || {};
    if (input.type == 'range') input.ariaValueText = said.textContent = step.label;
    if (methods.includes(step.method)) Plotly[step.method](drawn, ...step.args).catch(() => {});  // overtaken by the next
  };
  label.className = 'control';
  label.append(name, input, said);
  holder.before(label);
  input.value = active;
  input.oninput = show;
  show();
}

// On a phone the caption above takes the title's place, the legend stands above the drawing, titles of axes wrap. A
// figure with panels side by side keeps its width, scrolled in its own frame. A swipe scrolls, it zooms into nothing.
function narrow(layout, place) {
  layout.margin = Object.assign({}, layout.margin, {t: 20});
  layout.dragmode = false;
  const axes = Object.keys(layout).filter(name => /^[xy]axis/.test(name));
  if (axes.some(name => name[0] == 'x' && layout[name].domain && layout[name].domain[0] > 0)) {
    const wide = Object.assign(document.createElement('div'), {className: 'wide', tabIndex: 0, role: 'group'});
    wide.ariaLabel = 'A figure wider than the page';
    place.replaceWith(wide);
    wide.append(place);
    return wide;
  }
  Object.assign(layout.margin, {l: 60, r: 10});
  layout.legend = Object.assign({}, layout.legend, {orientation: 'h', x: 0, xanchor: 'left', y: 1.02, yanchor: 'bottom'});
  for (const name of axes) {
    const {title} = layout[name];
    if (title && title.text) title.text = title.text.replace(/([^<>]{12,24}) (?=.{4})/g, '$1<br>');
    if (name[0] == 'x' && layout[name].dtick > 0) delete layout[name].dtick;  // set for a wide drawing
    layout[name].automargin = true;
  }
  return place;
}

async function draw(place, text) {
  const figure = JSON.parse(text), layout = figure.layout || {}, caption = place.previousElementSibling;
  const sliders = layout.sliders || [], menus = (layout.updatemenus || []).filter(menu => menu.type != 'buttons');
  delete layout.sliders;
  layout.updatemenus = (layout.updatemenus || []).filter(menu => menu.type == 'buttons');
  if (sliders.length && layout.margin && layout.margin.b > 80) {  // room for what is no longer drawn
    layout.height -= layout.margin.b - 80;
    layout.margin.b = 80;
  }
  const phone = matchMedia('screen and (max-width: 45em)').matches, holder = phone ? narrow(layout, place) : place;
  const config = {responsive: true, displaylogo: false, showSendToCloud: false};
  figure.config = Object.assign({}, figure.config, config, phone && {displayModeBar: false});
  const drawn = await Plotly.newPlot(place, figure);
  const say = () => {
    const {text, subtitle = {}} = drawn.layout.title || {};
    const [title, note] = [text, subtitle.text].map(each => (each || '').replace(/<[^<>]*>/g, ' ').trim());
    if (title) caption.textContent = `${title}${/[.?!]$/.test(title) ? '' : '.'} ${note}`;
  };
  caption.classList.add('drawn');
  drawn.on('plotly_afterplot', say);
  drawn.on('plotly_animated', say);
  // The picture is the drawing alone, not the buttons beside it.
  const [picture, ...rest] = drawn.querySelectorAll('.main-svg');
  picture.role = 'img';
  picture.ariaLabel = place.ariaLabel;
  place.role = place.ariaLabel = null;
  for (const svg of rest) svg.ariaHidden = true;
  for (const {steps = [], active, currentvalue = {}} of sliders) {
    const input = Object.assign(document.createElement('input'), {type: 'range', max: steps.length - 1});
    control(drawn, holder, input, currentvalue.prefix || 'step', steps, active);
  }
  for (const {buttons = [], active} of menus) {
    const input = document.createElement('select');
    input.append(...buttons.map((button, at) => new Option(button.label, at)));
    control(drawn, holder, input, 'shown', buttons, active);
  }
}

for (const data of document.querySelectorAll('script.plotly')) {
  const place = data.previousElementSibling;
  draw(place, data.textContent).catch(error => { place.textContent = 'No figure: ' + error; });
}
