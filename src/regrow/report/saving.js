// What tables and figures share: buttons, and files that the page gives.
const button = (text, label, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
};
const tools = (...parts) => {
  const row = document.createElement("div");
  row.className = "tools";
  row.append(...parts);
  return row;
};
const save = (content, type, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
// A link into something folded up opens it: not every browser does so by itself.
const unfold = () => {
  const wanted = document.querySelector(":target"), closed = wanted ? wanted.closest("details:not([open])") : null;
  if (closed === null) return;
  closed.open = true;
  unfold();
  wanted.scrollIntoView();
};
addEventListener("hashchange", unfold);
addEventListener("load", unfold);
