// Tables that sort by a click on a heading, are searched, and are saved as CSV. Without it the page reads as well.
"use strict";
for (const figure of document.querySelectorAll("figure.data")) {
  const table = figure.querySelector("table"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const text = (row, place) => row.cells[place].textContent.trim();
  const number = (said) => {
    const found = Number(said.replace("\u2212", "-").replace(/,/g, ""));
    return said === "" || Number.isNaN(found) ? null : found;
  };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [text(row, place), row]);
      const told = rows.filter(([said]) => said !== "\u2013");
      const numeric = told.length > 0 && told.every(([said]) => number(said) !== null || /^-?(inf|nan)$/.test(said));
      const value = (said) => said === "inf" ? Infinity : said === "-inf" ? -Infinity : number(said) ?? NaN;
      const order = ([a], [b]) => numeric ? value(a) - value(b) : a.localeCompare(b, undefined, { numeric: true });
      told.sort((a, b) => (down ? -1 : 1) * order(a, b));
      // What was not measured stays at the end, whichever way.
      body.replaceChildren(...told.map(([, row]) => row), ...rows.filter(([said]) => said === "\u2013").map(([, row]) => row));
    });
  });
  const tools = document.createElement("div"), search = document.createElement("input"), save = document.createElement("button");
  const name = figure.dataset.name;
  tools.className = "tools";
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", "Search " + figure.querySelector(".scroll").getAttribute("aria-label"));
  search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  save.type = "button";
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => {
    const quoted = (said) => /[",\n]/.test(said) ? '"' + said.replace(/"/g, '""') + '"' : said;
    const lines = [heads, ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells])]
      .map((cells) => cells.map((cell) => quoted(cell.textContent.trim())).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = name + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  tools.append(search, save);
  figure.prepend(tools);
}
