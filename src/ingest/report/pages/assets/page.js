"use strict";
(() => {
  const DAY = 86400000;
  const PAPER = 1000;
  const ERRORS = 1; // a person without gaps, or with one answer, is no reason to warn of empty scales
  const page = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = new Map();
  const tables = new Map();
  const tip = document.getElementById("tip");

  // Tables come column by column: rows of objects for the charts, times as milliseconds.
  function rowsOf(name) {
    if (tables.has(name)) return tables.get(name);
    const { names, types, values, words } = page.tables[name];
    const read = names.map((column, i) => {
      const cells = values[i];
      if (types[i] === "text") return (row) => (cells[row] === null ? null : words[column][cells[row]]);
      if (types[i] === "date") return (row) => (cells[row] === null ? null : cells[row] * DAY);
      if (types[i] === "instant" || types[i] === "clock")
        return (row) => (cells[row] === null ? null : cells[row] * 1000);
      return (row) => cells[row];
    });
    const count = values.length ? values[0].length : 0;
    const rows = Array.from({ length: count }, (_, row) => {
      const object = {};
      for (let i = 0; i < names.length; i++) object[names[i]] = read[i](row);
      return object;
    });
    tables.set(name, rows);
    return rows;
  }

  function shown(type, value) {
    if (value === null || value === undefined) return "";
    if (type === "date") return new Date(value).toISOString().slice(0, 10);
    if (type === "instant") return new Date(value).toISOString().slice(0, 19) + "Z";
    if (type === "clock") return new Date(value).toISOString().slice(0, 19);
    return String(value);
  }

  const label = (name) => page.labels[name] || name;

  // ---- drawing

  const palette = () => page.themes[dark.matches ? "dark" : "light"];

  function coloured(value, colours) {
    if (typeof value === "string") return value[0] === "$" && value.slice(1) in colours ? colours[value.slice(1)] : value;
    if (Array.isArray(value)) return value.map((each) => coloured(each, colours));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, colours)]));
    return value;
  }

  function config(colours) {
    const axis = {
      labelColor: colours.muted, titleColor: colours.muted, tickColor: colours.line, domainColor: colours.line,
      gridColor: colours.line, gridOpacity: 0.5, titleFontWeight: 500, titleFontSize: 11, labelFontSize: 11,
    };
    const legend = { labelColor: colours.ink, titleColor: colours.muted, symbolStrokeWidth: 2, orient: "top", title: null,
      offset: 2, padding: 0, labelFontSize: 11, symbolSize: 80 };
    return { aria: false, background: "transparent", font: getComputedStyle(document.body).fontFamily, axis, legend,
      view: { stroke: null }, title: { color: colours.ink }, text: { color: colours.ink },
      header: { labelColor: colours.ink, titleColor: colours.muted }, range: { ramp: colours.ramp, heatmap: colours.ramp,
        category: ["blue", "vermillion", "green", "orange", "purple", "sky", "grey"].map((name) => colours[name]) } };
  }

  function tooltip(handler, event, item, value) {
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    tip.textContent = typeof value === "object"
      ? Object.entries(value).map(([key, each]) => `${label(key)}: ${each}`).join("\n") : String(value);
    place(event);
  }

  function place(event) {
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + "px";
  }

  async function draw(chart) {
    const element = document.getElementById("plot-" + chart.id);
    const spec = structuredClone(coloured(chart.spec, palette()));
    if (chart.on_time) {
      const params = [{ name: "from", value: span[0] }, { name: "to", value: span[1] }];
      spec.params = [...(spec.params || []), ...params];
    }
    const held = plots.get(chart.id);
    const marks = [...element.querySelectorAll(".cursor, .brush")];
    const made = await vegaEmbed(element, spec, {
      logLevel: ERRORS, actions: false, ast: true, renderer: "canvas", defaultStyle: false, tooltip, config: config(palette()),
    });
    for (const each of marks) element.appendChild(each);
    if (held) held.finalize();
    // Rows come once the empty chart has its width: each of its two passes would encode all of them.
    for (const name of chart.data) made.view.data(name, rowsOf(name));
    await made.view.runAsync();
    plots.set(chart.id, made);
    const canvas = element.querySelector("canvas");
    if (canvas) canvas.setAttribute("aria-hidden", "true");
  }

  // ---- the shared axis of time

  const whole = page.time ? [Date.parse(page.time.first), Date.parse(page.time.last) + DAY] : [0, DAY];
  let span = [...whole];
  let night = null;
  const timed = page.charts.filter((chart) => chart.on_time);
  const field = (id) => document.getElementById(id);

  function zoom(from, to) {
    const length = Math.min(Math.max(to - from, 7 * DAY), whole[1] - whole[0]);
    const start = Math.min(Math.max(from, whole[0]), whole[1] - length);
    span = [start, start + length];
    for (const chart of timed) {
      const plot = plots.get(chart.id);
      if (plot) plot.view.signal("from", span[0]).signal("to", span[1]).run();
    }
    if (field("from")) {
      field("from").value = shown("date", span[0]);
      field("to").value = shown("date", span[1] - DAY);
    }
    document.body.dataset.from = shown("date", span[0]);
    document.body.dataset.to = shown("date", span[1] - DAY);
    mark();
  }

  // Where a chart's data begin and how wide they are, in pixels of its element.
  function inner(chart) {
    const plot = plots.get(chart.id);
    if (!plot) return null;
    return { left: plot.view.origin()[0], width: plot.view.signal("width") };
  }

  function timeAt(chart, event) {
    const place = inner(chart);
    const box = document.getElementById("plot-" + chart.id).getBoundingClientRect();
    const share = (event.clientX - box.left - place.left) / place.width;
    return span[0] + Math.min(Math.max(share, 0), 1) * (span[1] - span[0]);
  }

  function overlay(element, kind) {
    let made = element.querySelector("." + kind);
    if (!made) { made = document.createElement("div"); made.className = kind; element.appendChild(made); }
    return made;
  }

  function stretch(kind, from, to) {
    for (const chart of timed) {
      const place = inner(chart);
      if (!place) continue;
      const made = overlay(document.getElementById("plot-" + chart.id), kind);
      const left = place.left + ((from - span[0]) / (span[1] - span[0])) * place.width;
      made.hidden = from === null || left < place.left - 1 || left > place.left + place.width + 1;
      made.style.left = left + "px";
      if (to !== undefined) made.style.width = Math.max(((to - from) / (span[1] - span[0])) * place.width, 0) + "px";
    }
  }

  function hide(kind) { for (const each of document.querySelectorAll("." + kind)) each.hidden = true; }

  function mark() { if (night === null) hide("cursor"); else stretch("cursor", night + DAY / 2); }

  let byDate = null;
  function readout(date) {
    night = date;
    mark();
    if (!page.time || !page.time.readout) return "";
    const { names, types } = page.tables[page.time.readout];
    if (!byDate) byDate = new Map(rowsOf(page.time.readout).map((row) => [row[names[0]], row]));
    const row = byDate.get(date);
    const list = document.createElement("dl");
    const lines = [];
    names.forEach((name, i) => {
      const read = row && types[i] === "number" && row[name] !== null ? Math.round(row[name] * 10) / 10 : row && row[name];
      const value = i === 0 ? shown("date", date) : row && shown(types[i], read);
      if (value === "" || value === undefined || value === null) return;
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const said = document.createElement("dd");
      term.textContent = label(name);
      said.textContent = value;
      pair.append(term, said);
      list.appendChild(pair);
      lines.push(`${label(name)}: ${value}`);
    });
    field("readout").replaceChildren(list);
    if (field("night")) field("night").value = shown("date", date);
    return lines.join("\n");
  }

  const dayOf = (time) => Math.floor(time / DAY) * DAY;

  function listen(chart) {
    const element = document.getElementById("plot-" + chart.id);
    let start = null;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = { x: event.clientX, time: timeAt(chart, event) };
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      if (!inner(chart)) return;
      const time = timeAt(chart, event);
      if (start && Math.abs(event.clientX - start.x) > 4) {
        stretch("brush", Math.min(start.time, time), Math.max(start.time, time));
        tip.hidden = true;
        return;
      }
      const date = dayOf(Math.min(time, whole[1] - 1));
      const text = date === night ? null : readout(date);
      if (text) tip.textContent = text;
      if (tip.textContent) place(event);
    });
    element.addEventListener("pointerup", (event) => {
      hide("brush");
      if (start && Math.abs(event.clientX - start.x) > 4) {
        const time = timeAt(chart, event);
        zoom(dayOf(Math.min(start.time, time)), dayOf(Math.max(start.time, time)) + DAY);
      }
      start = null;
    });
    element.addEventListener("pointercancel", () => { start = null; hide("brush"); });
    element.addEventListener("pointerleave", () => { tip.hidden = true; });
    element.addEventListener("dblclick", () => zoom(...whole));
    element.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7 };
      if (event.key in steps) {
        event.preventDefault();
        const from = night === null ? span[1] : night;
        const next = Math.min(Math.max(from + steps[event.key] * DAY, whole[0]), whole[1] - DAY);
        if (next < span[0]) zoom(next, next + span[1] - span[0]);
        else if (next >= span[1]) zoom(next + DAY - (span[1] - span[0]), next + DAY);
        readout(next);
      } else if (event.key === "Escape") zoom(...whole);
      else if (event.key === "+" || event.key === "-") {
        const middle = night === null ? (span[0] + span[1]) / 2 : night;
        const half = ((span[1] - span[0]) / 2) * (event.key === "+" ? 0.5 : 2);
        zoom(dayOf(middle - half), dayOf(middle + half));
      }
    });
  }

  function controls() {
    for (const button of document.querySelectorAll("[data-days]"))
      button.addEventListener("click", () => {
        const days = Number(button.dataset.days);
        zoom(days ? span[1] - days * DAY : whole[0], days ? span[1] : whole[1]);
      });
    for (const button of document.querySelectorAll("[data-move]"))
      button.addEventListener("click", () => {
        const by = Number(button.dataset.move) * Math.round((span[1] - span[0]) / DAY / 2) * DAY;
        zoom(span[0] + by, span[1] + by);
      });
    const typed = () => {
      const from = Date.parse(field("from").value), to = Date.parse(field("to").value);
      if (from < to) zoom(from, to + DAY);
    };
    for (const id of ["from", "to"]) if (field(id)) field(id).addEventListener("change", typed);
    if (field("night"))
      field("night").addEventListener("change", () => {
        const date = Date.parse(field("night").value);
        if (date >= whole[0] && date < whole[1]) readout(date);
      });
  }

  // ---- tables and CSV

  const formula = /^[=+\-@\t\r]/;

  function csv(name) {
    const { names, types } = page.tables[name];
    const cell = (type, value) => {
      let text = shown(type, value);
      if (type === "text" && formula.test(text)) text = "'" + text;
      return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    const lines = rowsOf(name).map((row) => names.map((column, i) => cell(types[i], row[column])).join(","));
    return [names.join(","), ...lines].join("\n") + "\n";
  }

  function fill(place, name) {
    const { names, types } = page.tables[name];
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const each of names) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = label(each);
      head.appendChild(cell);
    }
    const body = table.createTBody();
    for (const row of rowsOf(name)) {
      const line = body.insertRow();
      names.forEach((column, i) => { line.insertCell().textContent = shown(types[i], row[column]); });
    }
    place.replaceChildren(table);
  }

  function data(chart) {
    const details = document.querySelector(`details.data[data-chart="${chart.id}"]`);
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".scroll");
      if (details.open && !place.firstChild) fill(place, chart.table);
    });
    details.querySelector("button.csv").addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(chart.table)], { type: "text/csv" }));
      link.download = `${document.title.replace(/[^\w-]+/g, "_")}-${chart.id}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  // ---- begin

  async function drawAll() {
    await Promise.all(page.charts.map(draw));
    mark();
  }

  async function begin() {
    for (const chart of page.charts) { data(chart); if (chart.on_time) listen(chart); }
    controls();
    await drawAll();
    if (page.time) zoom(...span);
    document.body.dataset.drawnMs = performance.now();
    document.body.dataset.drawn = "true";
  }

  dark.addEventListener("change", drawAll);
  // Paper is narrow and white. What is drawn anew here must stand before the event ends: no promise, no timer.
  function fit(width) {
    for (const [id, plot] of plots)
      if (page.charts.find((chart) => chart.id === id).spec.width === "container")
        plot.view.signal("width", width || document.getElementById("plot-" + id).clientWidth).run();
  }
  addEventListener("beforeprint", () => {
    document.documentElement.classList.toggle("darkdrawn", dark.matches);
    fit(PAPER);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("darkdrawn");
    fit(0);
    mark();
  });
  addEventListener("resize", () => setTimeout(mark, 50));
  begin();
})();
