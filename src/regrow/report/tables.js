// Tables that sort by a click or a key on a heading, are searched, and are saved as CSV. Without it the page reads as well.
const said = (cell) => cell.textContent.replace(/\s+/g, " ").trim().replace(/\u2212/g, "-");
const nothing = (text) => text === "" || text === "\u2013" || text === "nan";
// "+1.2 to +3.4", "9 of 10", "< 0.001", "90 min": the number in front counts, what is behind it decides between equals.
const numbered = (text) => {
  const found = /^([<>]?)\s*([+-]?(?:inf|[\d,]*\.?\d+(?:e[+-]?\d+)?))(?![\w.])\s*(.*)$/i.exec(text);
  if (found === null) return null;
  const number = Number(found[2].replace(/,/g, "").replace(/inf/i, "Infinity"));
  return { number: number * (/^min\b/.test(found[3]) ? 60 : 1) * (found[1] === "<" ? 0.999 : 1), rest: found[3] };
};
// Numbers inside a text by their value: lr=0.03 stands before lr=0.1, conv2 before conv10.
const natural = (a, b) => {
  const [left, right] = [a, b].map((text) => text.split(/(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i));
  for (let place = 0; place < Math.min(left.length, right.length); place += 1) {
    const order = place % 2 ? Number(left[place]) - Number(right[place]) : left[place].localeCompare(right[place]);
    if (order) return order;
  }
  return left.length - right.length;
};
const sorted = (rows, place, down) => {
  const every = rows.map((row) => [said(row.cells[place]), row]);
  const told = every.filter(([text]) => !nothing(text));
  const numbers = new Map(told.map(([text]) => [text, numbered(text)]));
  const numeric = ![...numbers.values()].includes(null);
  const order = ([a], [b]) => {
    if (!numeric) return natural(a, b);
    const [left, right] = [numbers.get(a), numbers.get(b)];
    return left.number === right.number ? natural(left.rest, right.rest) : left.number - right.number;
  };
  told.sort((a, b) => (down ? -1 : 1) * order(a, b));
  // What was not measured stays at the end, whichever way.
  return [...told, ...every.filter(([text]) => nothing(text))].map(([, row]) => row);
};
const csv = (rows) => rows.map((row) => [...row.cells].map((cell) => {
  const text = said(cell) === "\u2013" ? "" : said(cell);
  return /[",]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}).join(",")).join("\r\n") + "\r\n";

for (const figure of document.querySelectorAll("figure.data")) {
  const table = figure.querySelector("table"), body = table.tBodies[0], head = table.tHead.rows[0];
  const label = figure.querySelector(".scroll").getAttribute("aria-label"), heads = [...head.cells];
  const shown = () => [...body.rows].filter((row) => !row.hidden);
  const keep = button("Save as CSV", label + ": save as CSV", () => {
    save(csv([head, ...shown()]), "text/csv", figure.dataset.name + ".csv");
  });
  if (body.rows.length < 2) {
    figure.prepend(tools(keep));
    continue;
  }
  heads.forEach((each, place) => {
    const sort = button(each.textContent, "", () => {
      const down = each.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      each.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.replaceChildren(...sorted([...body.rows], place, down));
    });
    sort.removeAttribute("aria-label");
    sort.title = "Sort by this column";
    each.replaceChildren(sort);
  });
  const search = document.createElement("input"), found = document.createElement("output");
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", label + ": search");
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    for (const row of body.rows) row.hidden = ![...row.cells].map(said).join(" ").toLowerCase().includes(wanted);
    found.textContent = wanted && shown().length + " of " + body.rows.length + " rows";
  });
  figure.prepend(tools(search, found, keep));
}
