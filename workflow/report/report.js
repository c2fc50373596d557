// Tables can be sorted by a click or the Enter key on a heading; links to a folded part open it.
(function () {
  "use strict";
  function key(row, column) {
    var cell = row.cells[column];
    var text = cell ? (cell.dataset.sort || cell.textContent.trim()) : "";
    var value = parseFloat(text.replace("−", "-"));
    return { text: text.toLowerCase(), value: /^[-−+]?[\d.]/.test(text) ? value : NaN };
  }
  function sort(table, column, ascending) {
    var body = table.tBodies[0];
    Array.from(body.rows)
      .map(function (row, index) { return { row: row, key: key(row, column), index: index }; })
      .sort(function (a, b) {
        var x = a.key, y = b.key, order;
        if (!x.text || !y.text) { return (!x.text) - (!y.text) || a.index - b.index; } // empty cells stay last
        order = isNaN(x.value) || isNaN(y.value) ? x.text.localeCompare(y.text) : x.value - y.value;
        return (ascending ? order : -order) || a.index - b.index;
      })
      .forEach(function (item) { body.appendChild(item.row); });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      if (head.classList.contains("fixed")) { return; }
      function act() {
        var ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (other) {
          if (other.hasAttribute("aria-sort")) { other.setAttribute("aria-sort", "none"); }
        });
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending);
      }
      head.setAttribute("aria-sort", "none");
      head.tabIndex = 0;
      head.addEventListener("click", act);
      head.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
      });
    });
  });
  function open() {
    var target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", open);
  open();
})();
