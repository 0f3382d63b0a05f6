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

function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    Plotly.react(id, figure.traces, themed(figure.layout),
      { displayModeBar: false, responsive: true });
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

for (const header of document.querySelectorAll("th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
dark.addEventListener("change", draw);
draw();
