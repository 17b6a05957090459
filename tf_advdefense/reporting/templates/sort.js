// Sorts a table by a column when its heading is pressed; the page is whole without it.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (heading.tagName !== "TH") return;
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.ariaSort === "descending" || (column === 0 && !heading.ariaSort);
      headings.forEach((other) => (other.ariaSort = null));
      heading.ariaSort = rising ? "ascending" : "descending";
      const rows = [...table.tBodies[0].rows].map((row) => [value(row.cells[column]), row]);
      rows.sort(([a], [b]) => compare(a, b, rising));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

function value(cell) {
  const text = cell.firstChild ? cell.firstChild.textContent.trim() : "";
  const number = parseFloat(text.replace("−", "-").replaceAll(",", ""));
  return text === "–" || text === "" ? null : Number.isNaN(number) ? text : number;
}

// What was not measured stays below, whichever way the others stand.
function compare(a, b, rising) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return rising ? order : -order;
}
