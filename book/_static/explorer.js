/* The single neuron under a chosen learning rate and temperature: mean loss curves and one neuron's raster.
   Plain JavaScript and SVG; the data stand in the page, put there by tsbp.figures.explorer. */

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function label(parent, x, y, text, anchor = "middle") {
  element("text", { x, y, "text-anchor": anchor, "font-size": 11, fill: "currentColor" }, parent).textContent = text;
}

/* An empty panel with axes from 0 to the given ends, and functions from data to pixels. */
function panel(svg, left, top, width, height, xEnd, yEnd, title, xLabel) {
  element("path", { d: `M${left},${top} v${height} h${width}`, fill: "none", stroke: "currentColor" }, svg);
  label(svg, left, top - 8, title, "start");
  label(svg, left + width / 2, top + height + 30, xLabel);
  for (const share of [0, 0.5, 1]) {
    label(svg, left + share * width, top + height + 15, share * xEnd);
  }
  return { x: (value) => left + (value / xEnd) * width, y: (value) => top + height - (value / yEnd) * height };
}

function draw(root, data) {
  const rate = root.querySelector("[name=rate]").value;
  const temperature = root.querySelector("[name=temperature]").value;
  root.querySelector("output.rate").textContent = data.rates[rate];
  root.querySelector("output.temperature").textContent = data.temperatures[temperature];
  const svg = root.querySelector("svg");
  svg.replaceChildren();

  const highest = 1.6;
  const last = data.iterations[data.iterations.length - 1];
  const loss = panel(svg, 40, 25, 660, 170, last, highest, "mean loss", "iteration");
  for (const value of [0.5, 1, 1.5]) label(svg, 34, loss.y(value) + 4, value, "end");
  data.gradients.forEach((name, g) => {
    const points = data.loss[temperature][g][rate].map(
      (value, i) => `${loss.x(data.iterations[i]).toFixed(1)},${loss.y(Math.min(value, highest)).toFixed(1)}`,
    );
    element("polyline", { points: points.join(" "), fill: "none", stroke: data.colours[g], "stroke-width": 2 }, svg);
    const key = element("text", { x: 560, y: 40 + 16 * g, "font-size": 12, fill: data.colours[g] }, svg);
    key.textContent = name;
  });

  data.gradients.forEach((name, g) => {
    const raster = panel(svg, 40 + 225 * g, 265, 205, 190, data.steps, last, `spikes of one neuron: ${name}`, "time step");
    for (const t of data.target) {
      element("rect", { x: raster.x(t) - 2, y: 265, width: 4, height: 190, fill: "#C2185B", opacity: 0.25 }, svg);
    }
    let path = "";
    data.spikes[temperature][g][rate].forEach((steps, i) => {
      // Iterations run downwards, as in Fig. 2.
      for (const t of steps) path += `M${raster.x(t).toFixed(1)},${(265 + 455 - raster.y(data.iterations[i])).toFixed(1)}v4`;
    });
    element("path", { d: path, stroke: data.colours[g], "stroke-width": 2 }, svg);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  for (const root of document.querySelectorAll(".tsbp-explorer")) {
    const data = JSON.parse(root.querySelector("script").textContent);
    root.addEventListener("input", () => draw(root, data));
    draw(root, data);
  }
});
