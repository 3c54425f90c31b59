// Sorts tables, finds scenes and walks through them; without it every word can still be read.
(function () {
  const scenes = Array.from(document.querySelectorAll("details.scene"));

  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const name = cell.querySelector("a"); // what stands beside it is no part of the name
    return name ? name.textContent : NaN;
  }

  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => {
      if (typeof a === "string") return direction * a.localeCompare(b, "en", { numeric: true });
      if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what is undefined stays last
      return direction * (a - b);
    });
    body.append(...rows.map(([, row]) => row));
    Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
      if (index !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () =>
        sort(table, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1));
    });
  }

  function show(scene) {
    scene.open = true;
    scene.querySelector("summary").focus({ preventScroll: true });
    scene.scrollIntoView({ block: "start" });
  }

  function step(forward) {
    const shown = scenes.filter((scene) => !scene.hidden);
    const at = shown.findIndex((scene) => scene.contains(document.activeElement));
    const next = shown[at < 0 ? 0 : at + forward];
    if (!next) return;
    if (at >= 0) shown[at].open = false;
    show(next);
  }

  document.addEventListener("keydown", (event) => {
    const busy = event.target.matches("input, textarea, select");
    if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });

  function follow() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const scene = target && target.closest("details.scene");
    if (scene) show(scene);
  }
  addEventListener("hashchange", follow);
  follow();

  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.print")) part.open = true;
  });

  const table = document.querySelector(".scene-table");
  if (!table) return;
  const tools = document.createElement("div");
  tools.className = "tools";
  const find = document.createElement("input");
  find.type = "search";
  find.placeholder = "Find a scene or a question";
  find.setAttribute("aria-label", find.placeholder);
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    scenes.forEach((scene) => {
      scene.hidden = !scene.textContent.toLowerCase().includes(wanted);
      const id = "#" + scene.querySelector(".scene-content").id;
      table.querySelector(`a[href="${id}"]`).closest("tr").hidden = scene.hidden;
    });
  });
  const close = document.createElement("button");
  close.textContent = "Close all scenes";
  close.addEventListener("click", () => scenes.forEach((scene) => { scene.open = false; }));
  tools.append(find, close);
  table.closest(".scroll").before(tools);
})();
