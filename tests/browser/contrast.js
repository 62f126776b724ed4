// Returns every text below `roots` that stands out from what is behind it by less than `least` (WCAG 2's ratio).
(roots, least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function rgba(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }

  function over(above, below) {
    const alpha = above[3] + below[3] * (1 - above[3]);
    const mixed = [0, 1, 2].map((i) => (above[i] * above[3] + below[i] * below[3] * (1 - above[3])) / (alpha || 1));
    return [...mixed, alpha];
  }

  function luminance(colour) {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function ratio(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  function opacity(element) {
    return element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
  }

  // The colour of a picture, such as a heat map, at a point.
  function pixel(image, x, y) {
    const box = image.getBoundingClientRect();
    canvas.clearRect(0, 0, 1, 1);
    canvas.imageSmoothingEnabled = false;
    canvas.drawImage(image, box.x - x, box.y - y, box.width, box.height);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }

  // What is painted behind an element at a point: the elements there from it downwards, mixed until nothing shows through.
  function behind(element, x, y) {
    const all = document.elementsFromPoint(x, y);
    let mixed = [0, 0, 0, 0];
    for (const each of all.slice(Math.max(all.indexOf(element), 0))) {
      const style = getComputedStyle(each);
      const shape = each instanceof SVGElement && !["svg", "g", "text", "tspan"].includes(each.tagName);
      const picture = each.tagName === "image";
      const [r, g, b, a] = picture ? pixel(each, x, y) : rgba(shape ? style.fill : style.backgroundColor);
      mixed = over(mixed, [r, g, b, a * opacity(each) * (shape && !picture ? style.fillOpacity : 1)]);
      if (mixed[3] > 0.999) return mixed;
    }
    return over(mixed, [255, 255, 255, 1]);
  }

  function texts(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) =>
      node.data.trim() && !node.parentElement.closest("style, script, :disabled") ? 1 : 2);
    const found = [];
    while (walker.nextNode()) found.push(walker.currentNode);
    return found;
  }

  const reach = document.createElement("style"); // lets elementsFromPoint see what the mouse must not touch
  reach.textContent = "* { pointer-events: auto !important; }";
  document.head.append(reach);
  const faint = [];
  for (const node of roots.flatMap(texts)) {
    const element = node.parentElement;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    element.scrollIntoView({ block: "center", inline: "nearest" });
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getClientRects()[0] ?? element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const style = getComputedStyle(element);
    const ground = behind(element, x, y);
    const [r, g, b, a] = rgba(element instanceof SVGElement ? style.fill : style.color);
    const shown = over([r, g, b, a * opacity(element)], ground);
    const found = ratio(shown, ground);
    if (found < least) faint.push(`${node.data.trim()}: ${found.toFixed(2)}, rgb(${shown.slice(0, 3).map(Math.round)})`
      + ` on rgb(${ground.slice(0, 3).map(Math.round)})`);
  }
  reach.remove();
  return faint;
}
