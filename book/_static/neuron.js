/* The single neuron of the paper's first experiment, trained in the reader's browser with all three gradients at once.
   The model first, the same mathematics as tsbp.runs.toy and checked against it; then the drawing. */

window.tsbpNeuron = (() => {
  const TABLE_1 = {
    learningRate: 0.005, temperature: 0.3, tauM: 6, tauS: 2, threshold: 1, synapticDelay: 1,
    inputs: 50, timeSteps: 100, inputProbability: 1 / 10, targetProbability: 1 / 20, iterations: 200,
  };

  /* What leads from U[t] to U[t+1], apart from the leak (eq. 8): with the reset term, without it, and nothing. */
  const GRADIENTS = {
    full: (potential, spike, surrogate) => 1 - spike - potential * surrogate,
    leak: (potential, spike) => 1 - spike,
    spatial: () => 0,
  };

  /* Postsynaptic current of a spike train: a[t] = (1 - 1/τs) · a[t-1] + S[t] / τs (eq. 2 and 5). */
  function filterSpikes(spikes, tauS) {
    let a = 0;
    return Float64Array.from(spikes, (spike) => (a = (1 - 1 / tauS) * a + spike / tauS));
  }

  /* One neuron; its history holds the loss, the spikes and the phases A to D before each update and after the last. */
  class Neuron {
    constructor(draws, settings, gradient) {
      Object.assign(this, TABLE_1, settings, { factor: GRADIENTS[gradient] });
      const delayed = (n) => draws.targetSpikes.map((_, t) => draws.inputSpikes[t - this.synapticDelay]?.[n] ?? 0);
      this.weights = Float64Array.from(draws.weights);
      this.inputs = Array.from(draws.weights, (_, n) => filterSpikes(delayed(n), this.tauS));
      this.targetPsc = filterSpikes(draws.targetSpikes, this.tauS);
      this.history = [this.observe()];
    }

    /* The forward pass (eq. 3-6), and the gradient backwards through its four phases. */
    observe() {
      const steps = this.targetPsc.length;
      const current = new Float64Array(steps);
      this.inputs.forEach((psc, n) => {
        const weight = this.weights[n];
        for (let t = 0; t < steps; t++) current[t] += weight * psc[t];
      });
      const potential = new Float64Array(steps);
      const spikes = new Float64Array(steps);
      const leak = 1 - 1 / this.tauM;
      for (let t = 0; t < steps; t++) {
        const remaining = t === 0 ? 0 : potential[t - 1] * (1 - spikes[t - 1]);
        potential[t] = leak * remaining + current[t]; // eq. 4
        spikes[t] = potential[t] > this.threshold ? 1 : 0; // eq. 3
      }
      const psc = filterSpikes(spikes, this.tauS);
      const A = psc.map((a, t) => a - this.targetPsc[t]); // error
      const loss = A.reduce((sum, error) => sum + 0.5 * error ** 2, 0); // eq. 6
      const B = filterSpikes(A.slice().reverse(), this.tauS).reverse(); // the kernel, backwards in time
      const surrogate = potential.map((u) => {
        const sigmoid = 1 / (1 + Math.exp(-(u - this.threshold) / this.temperature)); // eq. 9
        return (sigmoid * (1 - sigmoid)) / this.temperature; // eq. 10
      });
      const C = B.map((error, t) => error * surrogate[t]);
      const D = C.slice(); // eq. 7 and 8
      for (let t = steps - 2; t >= 0; t--) D[t] += leak * this.factor(potential[t], spikes[t], surrogate[t]) * D[t + 1];
      return { loss, spikes, A, B, C, D };
    }

    /* One update by gradient descent. */
    step() {
      const { D } = this.history.at(-1);
      this.weights = this.weights.map((weight, n) => {
        const psc = this.inputs[n];
        let gradient = 0;
        for (let t = 0; t < D.length; t++) gradient += psc[t] * D[t];
        return weight - this.learningRate * gradient;
      });
      this.history.push(this.observe());
    }

    get done() {
      return this.history.length > this.iterations;
    }
  }

  function train(draws, settings, gradient) {
    const neuron = new Neuron(draws, settings, gradient);
    while (!neuron.done) neuron.step();
    return neuron;
  }

  /* Input spikes, target spikes and initial weights, of the distributions of tsbp.runs.toy.draw. */
  function draw(seed) {
    let state = seed;
    const uniform = () => {
      // Mulberry32: 32 bits of state are plenty for a picture.
      state = (state + 0x6d2b79f5) | 0;
      let bits = Math.imul(state ^ (state >>> 15), state | 1);
      bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
      return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
    };
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    const { inputs, timeSteps, inputProbability, targetProbability } = TABLE_1;
    const train = (length, probability) => Array.from({ length }, () => Number(uniform() < probability));
    return {
      inputSpikes: Array.from({ length: timeSteps }, () => train(inputs, inputProbability)),
      targetSpikes: train(timeSteps, targetProbability),
      weights: Array.from({ length: inputs }, () => normal() / Math.sqrt(inputs)),
    };
  }

  return { TABLE_1, GRADIENTS, Neuron, train, draw };
})();

/* The figure: controls and three canvases, in every element of class tsbp-neuron. */
(() => {
  const { TABLE_1, GRADIENTS, Neuron, draw } = window.tsbpNeuron;
  const MEANINGS = { full: "with the reset term", leak: "without it", spatial: "none through time" };
  const PHASES = { A: "A: error", B: "B: through the kernel", C: "C: times the surrogate", D: "D: through time" };
  const EVERY = 8; // iterations from one faint line of the phases to the next
  const WATCH = 2; // iterations a frame, slow enough to see the neuron learn
  const BUDGET = 12; // milliseconds of training a frame at most, so that the page stays responsive

  /* A slider counts its positions from the value of Table 1: twenty to a factor of ten, or two to a time step. */
  const logarithmic = (start) => (position) => Number((start * 10 ** (position / 20)).toPrecision(2));
  const SLIDERS = {
    learningRate: { title: "learning rate", from: -20, to: 32, valueAt: logarithmic(TABLE_1.learningRate) },
    temperature: { title: "temperature", from: -16, to: 16, valueAt: logarithmic(TABLE_1.temperature) },
    tauM: { title: "membrane time constant", from: -10, to: 28, valueAt: (position) => TABLE_1.tauM + position / 2 },
  };

  const slider = ([name, { title, from, to }]) => `
    <label>${title} <output></output>
      <input type="range" name="${name}" aria-label="${title}" min="${from}" max="${to}" value="0"></label>`;
  const choice = (name, i) => `
    <label><input type="radio" name="gradient" value="${name}" ${i ? "" : "checked"}>
      <i style="background: var(--${name})"></i> <b>${name}</b>: ${MEANINGS[name]}</label>`;
  const CONTENT = `
    <div class="sliders">${Object.entries(SLIDERS).map(slider).join("")}</div>
    <fieldset><legend>Spikes and phases of</legend>${Object.keys(GRADIENTS).map(choice).join("")}</fieldset>
    <div class="buttons"><button type="button" name="train">Train</button>
      <button type="button" name="restart">Restart</button> <button type="button" name="draws">New draws</button></div>
    <canvas class="loss" role="img"></canvas>
    <canvas class="phases" role="img"></canvas>
    <canvas class="raster" role="img"></canvas>
    <p aria-live="polite"></p>`;

  /* The next round number, for the end of an axis. */
  function roundUp(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    const factor = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value);
    return Number((factor * power).toPrecision(2));
  }

  /* An empty canvas, and a pen whose unit is a pixel of the page and whose ink is that of the text around it. */
  function blank(canvas, label) {
    const { width, height } = canvas.getBoundingClientRect();
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    canvas.setAttribute("aria-label", label);
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.font = `12px ${style.fontFamily}`;
    pen.fillStyle = pen.strokeStyle = style.color;
    return { pen, width, height, colour: (name) => style.getPropertyValue(`--${name}`) };
  }

  /* A frame with title, ticks on the y axis from its bottom to its top, and where asked an x axis from 0 to xEnd.
     Returns the functions from data to pixels, and one that draws a line; what lies outside is drawn at the edge. */
  function panel({ pen, width }, top, height, title, yTicks, xEnd, xLabel) {
    const left = 38;
    const right = width - 14;
    const [bottom, high] = [yTicks[0], yTicks.at(-1)];
    const x = (value) => left + (value / xEnd) * (right - left);
    const y = (value) => top + Math.min(Math.max((high - value) / (high - bottom), 0), 1) * height;
    const write = (text, column, row, align = "center") => {
      pen.textAlign = align;
      pen.fillText(String(text).replace("-", "−"), column, row);
    };
    const line = (values, style) => {
      pen.save();
      Object.assign(pen, style);
      pen.beginPath();
      values.forEach((value, i) => pen.lineTo(x(i), y(value)));
      pen.stroke();
      pen.restore();
    };
    pen.globalAlpha = 0.4;
    pen.strokeRect(left, top, right - left, height);
    pen.globalAlpha = 1;
    write(title, left, top - 6, "left");
    for (const value of yTicks) write(value, left - 5, y(value) + 4, "right");
    for (const value of xLabel ? [0, xEnd / 2, xEnd] : []) write(value, x(value), top + height + 15);
    if (xLabel) write(xLabel, x(xEnd / 4), top + height + 15);
    return { x, y, line };
  }

  function drawLoss(canvas, neurons, chosen) {
    const { history, targetPsc, iterations } = neurons[chosen];
    const silent = targetPsc.reduce((sum, a) => sum + 0.5 * a ** 2, 0);
    const end = roundUp(1.5 * Math.max(history[0].loss, silent, 0.1));
    const now = history.length - 1;
    const paper = blank(canvas, `Loss of the three gradients up to iteration ${now} of ${iterations}.`);
    const title = `loss up to iteration ${now} of ${iterations}; thin line: a silent neuron's`;
    const { line } = panel(paper, 20, paper.height - 40, title, [0, end / 2, end], iterations, "iteration");
    line(Array(iterations + 1).fill(silent), { globalAlpha: 0.7 });
    for (const [name, neuron] of Object.entries(neurons)) {
      const losses = neuron.history.map((moment) => moment.loss);
      line(losses, { strokeStyle: paper.colour(name), lineWidth: name === chosen ? 2.5 : 1.25 });
    }
  }

  function drawPhases(canvas, neurons, chosen) {
    const kept = ({ history }) => history.filter((_, i) => i % EVERY === 0 || i === history.length - 1);
    const moments = kept(neurons[chosen]);
    // One axis for C and D of all gradients, so that their sizes can be compared.
    const values = Object.values(neurons).flatMap(kept).flatMap(({ C, D }) => [...C, ...D]);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0.01);
    const paper = blank(canvas, `Four phases of the gradient ${chosen} over time, early iterations faint.`);
    const rowHeight = (paper.height - 18) / 4;
    Object.entries(PHASES).forEach(([phase, title], row) => {
      const end = phase < "C" ? 1 : roundUp(largest);
      const steps = moments[0][phase].length;
      const label = phase === "D" ? "time step" : "";
      const { line } = panel(paper, row * rowHeight + 20, rowHeight - 28, title, [-end, 0, end], steps, label);
      const style = { strokeStyle: paper.colour(chosen), globalAlpha: 0.4 };
      moments.slice(0, -1).forEach((moment) => line(moment[phase], style));
      line(moments.at(-1)[phase], { lineWidth: 1.5 });
    });
  }

  function drawRaster(canvas, neurons, chosen, target) {
    const { history, iterations } = neurons[chosen];
    const paper = blank(canvas, `Output spikes over the iterations, learnt with ${chosen}; the target is marked.`);
    const [top, height] = [20, paper.height - 40];
    const yTicks = [iterations, iterations / 2, 0]; // downwards, as in Fig. 2
    const row = height / (iterations + 1);
    const { x } = panel(paper, top, height, "output spikes; target in pink", yTicks, target.length, "time step");
    const mark = (spikes, wide, y, high) => {
      spikes.forEach((spike, t) => spike && paper.pen.fillRect(x(t) - wide / 2, y, wide, high));
    };
    Object.assign(paper.pen, { globalAlpha: 0.5, fillStyle: paper.colour("target") });
    mark(target, x(1) - x(0), top, height);
    Object.assign(paper.pen, { globalAlpha: 1, fillStyle: paper.colour(chosen) });
    history.forEach(({ spikes }, i) => mark(spikes, 3, top + i * row, row));
  }

  /* What became of a neuron, in words. */
  function outcome(name, { history }, target) {
    const wrong = ({ spikes }) => spikes.some((spike, t) => spike !== target[t]);
    const end = history.at(-1);
    let words = `${name} ${end.loss.toFixed(2)}`;
    if (!wrong(end)) words += ` (on target since iteration ${history.map(wrong).lastIndexOf(true) + 1})`;
    else if (!end.spikes.includes(1)) words += " (silent)";
    return words;
  }

  function explore(root) {
    const find = (selector) => root.querySelector(selector);
    let draws = JSON.parse(find("script").textContent);
    let seed = 0;
    let neurons;
    let pace = 0; // iterations a frame; 0 is a pause
    let request;
    root.insertAdjacentHTML("beforeend", CONTENT);
    const compact = root.classList.contains("compact"); // the result first, and one slider to play with
    if (compact) find("legend").textContent = "Spikes of";
    if (compact) find("[name=learningRate]").value = Math.round(20 * Math.log10(root.dataset.rate / TABLE_1.learningRate));

    function redraw() {
      const chosen = find("input:checked").value;
      drawLoss(find(".loss"), neurons, chosen);
      drawPhases(find(".phases"), neurons, chosen);
      drawRaster(find(".raster"), neurons, chosen, draws.targetSpikes);
    }

    function frame() {
      const deadline = performance.now() + BUDGET;
      const all = Object.values(neurons);
      for (let i = 0; i < pace && !all[0].done && performance.now() < deadline; i++) all.forEach((one) => one.step());
      if (all[0].done && pace) {
        const words = Object.entries(neurons).map(([name, neuron]) => outcome(name, neuron, draws.targetSpikes));
        find("p").textContent = `Loss after ${all[0].iterations} iterations: ${words.join(", ")}.`;
        go(0);
      }
      redraw();
      if (pace) request = requestAnimationFrame(frame);
    }

    function go(newPace) {
      pace = newPace && matchMedia("(prefers-reduced-motion: reduce)").matches ? Infinity : newPace;
      cancelAnimationFrame(request);
      if (pace) request = requestAnimationFrame(frame);
      find("[name=train]").textContent = pace ? "Pause" : "Train";
    }

    function restart() {
      const settings = {};
      for (const [name, { valueAt }] of Object.entries(SLIDERS)) {
        const input = find(`[name=${name}]`);
        settings[name] = valueAt(Number(input.value));
        input.previousElementSibling.textContent = settings[name];
        input.setAttribute("aria-valuetext", settings[name]);
      }
      neurons = {};
      for (const name of Object.keys(GRADIENTS)) neurons[name] = new Neuron(draws, settings, name);
      find("p").textContent = "";
    }

    root.addEventListener("input", ({ target }) => {
      if (target.type === "radio") return redraw();
      restart();
      go(Infinity); // the result at once, so that a slider can be played with
    });
    root.addEventListener("click", ({ target }) => {
      if (target.tagName !== "BUTTON") return;
      if (target.name === "train" && pace) return go(0);
      if (target.name === "draws") draws = draw(++seed);
      if (target.name !== "train" || neurons.full.done) restart();
      go(WATCH);
    });
    restart();
    new ResizeObserver(redraw).observe(root);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      go(compact ? Infinity : WATCH);
    }).observe(find(".loss"));
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".tsbp-neuron").forEach(explore));
})();
