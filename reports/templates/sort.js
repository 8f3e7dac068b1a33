// A click on the head of a column sorts its table; what has no value stays last.
(() => {
  const text = (cell) => {
    const copy = cell.cloneNode(true);
    for (const tag of copy.querySelectorAll(".tag")) tag.remove();
    return copy.textContent.trim();
  };
  const number = (cell) => {
    const value = parseFloat(text(cell).replace("\u2212", "-").replace(/,/g, ""));
    return Number.isNaN(value) ? null : value;
  };
  const compare = (one, other, sign) => {
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (typeof one === "string" ? one.localeCompare(other) : one - other);
  };

  const sort = (table, head, heads) => {
    const numeric = head.classList.contains("number");
    const first = numeric ? "descending" : "ascending";
    const other = numeric ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const read = numeric ? number : text;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [read(row.cells[head.cellIndex]), row]);
    rows.sort((a, b) => compare(a[0], b[0], order === "ascending" ? 1 : -1));
    body.append(...rows.map((pair) => pair[1]));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells].filter(
      (cell) => cell.tagName === "TH",
    );
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head, heads));
      head.append(button);
    }
  }
})();
