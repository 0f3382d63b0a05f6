"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const themedLayout = {
    margin: { l: 70, r: 20, t: 20, b: 50 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
    hoverlabel: { align: "left" },
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: value("--text"), family: "system-ui, sans-serif", size: 12 },
  };
  for (const key of Object.keys(themedLayout)) {
    if (/^[xy]axis\d*$/.test(key)) {
      themedLayout[key] = {
        gridcolor: value("--line"), linecolor: value("--line"), zerolinecolor: value("--line"),
        automargin: true, ...themedLayout[key],
      };
    }
  }
  return themedLayout;
}

function chosen(id) {
  const select = document.querySelector(`select[data-figure="${id}"]`);
  return select === null ? figures[id].traces : figures[id].choices[select.value];
}

// On paper a figure is as wide as the paper, not as the window was.
function draw(width) {
  for (const [id, figure] of Object.entries(figures)) {
    const layout = width === undefined ? figure.layout : { ...figure.layout, width };
    Plotly.react(id, chosen(id), themed(layout), { displayModeBar: false, responsive: true });
  }
}

function sortBy(header) {
  const row = header.parentElement;
  const column = [...row.children].indexOf(header);
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of row.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = row.closest("table").tBodies[0];
  const key = (line) => {
    const cell = line.children[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (typeof x === "number" && typeof y === "number") return x - y;
    return String(x).localeCompare(String(y), undefined, { numeric: true });
  };
  const lines = [...body.rows].sort(compare);
  if (!ascending) lines.reverse();
  body.append(...lines);
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}
for (const select of document.querySelectorAll("select[data-figure]")) {
  select.addEventListener("change", () => draw());
}
dark.addEventListener("change", () => draw());
window.addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printed");
  draw(700);
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printed");
  draw();
});
draw();
