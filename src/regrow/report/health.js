// The health page's own figures as one SVG each, in the colours that are shown.
const markup = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
const cut = (text, most) => text.length > most ? text.slice(0, most - 1) + "\u2026" : text;
const colour = (element, what) => getComputedStyle(element)[what];
const written = (x, y, text, more) => '<text x="' + x + '" y="' + y + '" ' + (more || "") + ">" + markup(text) + "</text>";
const block = (x, y, width, height, fill, more) =>
  '<rect x="' + x + '" y="' + y + '" width="' + width + '" height="' + height + '" fill="' + fill + '" ' + (more || "") + "/>";
const sheet = (width, height, parts) => {
  const space = document.querySelector("svg").namespaceURI;
  return '<svg xmlns="' + space + '" width="' + width + '" height="' + height + '" viewBox="0 0 ' + width + " " + height +
    '" font-family="sans-serif" font-size="13" fill="' + colour(document.body, "color") + '">' +
    block(0, 0, width, height, colour(document.body, "backgroundColor")) + parts.join("") + "</svg>";
};
const strips = (figure) => {
  const width = 960, inside = width - 40, line = colour(figure.querySelector(".strip svg"), "borderTopColor"), parts = [];
  let x = 20, y = 28;
  for (const entry of figure.querySelectorAll(".legend li")) {
    const text = said(entry), wide = 44 + 8 * text.length;
    if (x > 20 && x + wide > width) [x, y] = [20, y + 24];
    parts.push(block(x, y - 12, 14, 14, colour(entry.querySelector("i"), "backgroundColor"), 'stroke="' + line + '"'));
    parts.push(written(x + 22, y, text));
    x += wide;
  }
  for (const strip of figure.querySelectorAll(".strip")) {
    const unit = inside / strip.querySelector("svg").viewBox.baseVal.width;
    parts.push(written(20, y += 34, cut(said(strip.querySelector(".about")), 130)));
    for (const rect of strip.querySelectorAll("rect")) {
      const at = (name) => rect[name].baseVal.value;
      parts.push(block(20 + unit * at("x"), y + 8, unit * at("width"), 18, colour(rect, "fill")));
    }
    parts.push(block(20, y + 8, inside, 18, "none", 'stroke="' + line + '"'));
    y += 24;
  }
  return sheet(width, y + 20, parts);
};
const filters = (figure) => {
  const every = [...figure.querySelectorAll(".filters li")], across = Math.min(every.length, 12), step = 84, high = 116;
  const parts = every.map((entry, number) => {
    const image = entry.querySelector("img"), x = 20 + step * (number % across), y = 20 + high * Math.floor(number / across);
    const [name, state] = [entry.querySelector("span").firstChild.textContent.trim(), entry.querySelector("small")];
    return '<image x="' + x + '" y="' + y + '" width="72" height="72" style="image-rendering:pixelated" href="' + image.src + '"/>' +
      block(x, y, 72, 72, "none", 'stroke-width="2" stroke="' + colour(image, "borderTopColor") + '"') +
      written(x + 36, y + 87, name, 'text-anchor="middle" font-size="11"') +
      (state ? written(x + 36, y + 100, cut(said(state), 14), 'text-anchor="middle" font-size="10"') : "");
  });
  return sheet(28 + step * across, 24 + high * Math.ceil(every.length / across), parts);
};
for (const [kind, made] of [["units", strips], ["first-filters", filters]]) {
  const figure = document.querySelector('figure[data-name="' + kind + '"]');
  if (figure) figure.append(offered(figure, figure.getAttribute("aria-label"), () => made(figure)));
}
