"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = new Intl.Collator(undefined, { numeric: true });
    const rows = [...table.tBodies[0].rows].sort((a, b) => order.compare(key(a), key(b)));
    if (head.classList.contains("num")) rows.sort((a, b) => Number(key(a)) - Number(key(b)));
    table.tBodies[0].append(...(down ? rows.reverse() : rows));
  }));
}
