"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  // ---- light and dark
  const stored = (() => { try { return localStorage.getItem("gradcheck-theme"); } catch { return null; } })();
  if (stored) root.dataset.theme = stored;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("gradcheck-theme", root.dataset.theme); } catch { /* a page from disk may not keep it */ }
    document.dispatchEvent(new Event("recolour"));
  });

  // ---- search and filters
  const articles = [...document.querySelectorAll("article")];
  const rowsOf = new Map(articles.map(each => [each, [...each.querySelectorAll("table.gradients tbody tr")]]));
  const search = document.getElementById("search");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const fits = (node, wanted) => wanted.every(([name, value]) => (name === "op" ? [node.dataset.op] : (node.dataset[name] || "").split(" ")).includes(value));
  const textOf = new WeakMap();
  const text = node => {
    if (!textOf.has(node)) textOf.set(node, node.textContent.toLowerCase());
    return textOf.get(node);
  };
  // the rows beyond the first few hundred are laid out when they are asked for
  function showRest(rest, show, always = false) {
    rest.hidden = !show;
    if (always) rest.dataset.shown = "";
    const button = rest.closest("article").querySelector("[data-rest]");
    if (button) button.hidden = show;
  }
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-rest]");
    if (button) showRest(button.closest("article").querySelector("tbody.rest"), true, true);
  });
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter(each => each.value).map(each => [each.dataset.filter, each.value]);
    let shown = 0, all = 0;
    for (const article of articles) {
      const rows = rowsOf.get(article);
      const own = fits(article, wanted) && words.every(word => text(article).includes(word));
      const head = text(article.querySelector("summary"));
      let some = 0;
      for (const row of rows) {
        const hit = fits(row, wanted) && words.every(word => text(row).includes(word) || head.includes(word));
        row.hidden = !hit;
        const inner = row.nextElementSibling;
        if (inner && inner.classList.contains("inner")) inner.hidden = !hit;
        some += hit;
      }
      all += rows.length || 1;
      const seen = some > 0 || own;
      article.hidden = !seen;
      shown += rows.length ? some : Number(own);
      if (own && !some) for (const row of rows) row.hidden = false;
    }
    for (const rest of document.querySelectorAll("tbody.rest:not([data-shown])")) showRest(rest, words.length + wanted.length > 0);
    document.getElementById("none").hidden = articles.some(each => !each.hidden);
    document.getElementById("shown").textContent = words.length || wanted.length ? `${shown} of ${all}` : "";
  }
  search.addEventListener("input", filter);
  for (const each of filters) each.addEventListener("change", filter);
  document.addEventListener("keydown", event => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && document.activeElement === search) { search.value = ""; filter(); search.blur(); }
  });
  const fold = document.getElementById("fold");
  if (fold) fold.addEventListener("click", () => {
    const close = fold.textContent === "fold all";
    for (const each of document.querySelectorAll("article > details")) each.open = !close;
    fold.textContent = close ? "unfold all" : "fold all";
  });

  // ---- sorting
  const orders = { verdict: row => ["fail", "inconclusive", "pass"].indexOf(row.dataset.verdict), used: row => -Number(row.dataset.used),
    error: row => -Number(row.dataset.error), shape: row => -Number(row.dataset.elements) };
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-sort]");
    if (!button) return;
    const head = button.closest("th"), [body, rest] = head.closest("table").tBodies;
    if (rest) { showRest(rest, true, true); body.append(...rest.children); rest.remove(); }
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    const key = orders[button.dataset.sort] || (row => row.dataset.name + row.cells[head.cellIndex].textContent);
    const rows = [...body.children].filter(row => !row.classList.contains("inner"));
    const inner = new Map(rows.map(row => [row, row.nextElementSibling]));
    const keyed = rows.map(row => [key(row), row]);
    keyed.sort(([a], [b]) => down * (a < b || Number.isNaN(b) ? -1 : a > b ? 1 : 0));
    for (const [, row] of keyed) {
      const after = inner.get(row);
      body.append(row);
      if (after && after.classList.contains("inner")) body.append(after);
    }
  });

  // ---- copying
  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const pre = button.previousElementSibling;
    try { await navigator.clipboard.writeText(pre.textContent); } catch {
      getSelection().selectAllChildren(pre);
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });

  // ---- grids
  const bytes = text => Uint8Array.from(atob(text), each => each.charCodeAt(0)).buffer;
  const number = value => {
    if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").replace("NaN", "nan");
    const size = Math.abs(value);
    return size && (size < 1e-4 || size >= 1e6) ? value.toExponential(4) : String(Number(value.toPrecision(6)));
  };
  const colour = name => getComputedStyle(root).getPropertyValue(name).split(",").map(Number);
  const mix = (from, to, part) => from.map((v, i) => v + (to[i] - v) * part);

  function gridsOf(picture) {
    const cells = picture.rows * picture.columns;
    const read = { actual: new Float32Array(bytes(picture.actual)), expected: new Float32Array(bytes(picture.expected)),
      used: new Float32Array(bytes(picture.used)), at: new Int32Array(bytes(picture.at)) };
    read.difference = read.actual.map((value, k) => value - read.expected[k]);
    return { cells, read, width: picture.shape.length ? picture.shape[picture.shape.length - 1] : 1 };
  }
  function indexOf(picture, grids, slice, cell) {
    const at = grids.read.at[slice * grids.cells + cell];
    const last = [Math.floor(at / grids.width), at % grids.width];
    return [...picture.slices[slice], ...(picture.shape.length > 1 ? last : picture.shape.length ? [last[1]] : [])];
  }
  function worstOf(grids, slices) {
    let best = 0;
    for (let k = 1; k < slices * grids.cells; k++) if (!(grids.read.used[k] <= grids.read.used[best])) best = k;
    return best;
  }
  function paint(canvas, picture, grids, kind, slice, marked) {
    const { rows, columns } = picture, { read, cells } = grids, base = slice * cells, scale = canvas.scale;
    const draw = canvas.getContext("2d");
    const [cold, warm, mid] = ["--cold", "--warm", "--mid"].map(colour);
    let top = 0;
    if (kind !== "used") for (const values of kind === "difference" ? [read.difference] : [read.actual, read.expected]) for (let k = 0; k < cells; k++) {
      const size = Math.abs(values[base + k]);
      if (Number.isFinite(size) && size > top) top = size;
    }
    for (let k = 0; k < cells; k++) {
      const value = kind === "used" ? read.used[base + k] : read[kind][base + k];
      let shade;
      if (kind === "used") {
        const decade = value > 0 ? Math.log10(value) : -6;  // 1e-6 of what is allowed to a million times it
        shade = !Number.isFinite(value) ? warm : decade > 0 ? mix(mid, warm, 0.35 + 0.65 * Math.min(decade / 6, 1)) : mix(mid, cold, 0.5 * Math.max(0, 1 + decade / 6));
      } else if (!Number.isFinite(value)) shade = [128, 128, 128];
      else shade = top ? mix(mid, value < 0 ? cold : warm, Math.abs(value) / top) : mid;
      draw.fillStyle = `rgb(${shade.map(Math.round).join(",")})`;
      const x = (k % columns) * scale, y = Math.floor(k / columns) * scale;
      draw.fillRect(x, y, scale, scale);
    }
    if (marked >= base && marked < base + cells) {
      const k = marked - base;
      draw.strokeStyle = getComputedStyle(root).getPropertyValue("--text");
      draw.lineWidth = 2;
      draw.strokeRect((k % columns) * scale + 1, Math.floor(k / columns) * scale + 1, scale - 2, scale - 2);
    }
  }
  function pictureNode(picture) {
    const box = make("div", { class: "picture" }), grids = gridsOf(picture), worst = worstOf(grids, picture.slices.length);
    let slice = Math.floor(worst / grids.cells), cursor = worst - slice * grids.cells;
    const scale = Math.max(6, Math.min(24, Math.floor((innerWidth < 640 ? innerWidth / 2 - 45 : 260) / picture.columns), Math.floor(420 / picture.rows)));
    const said = make("div", { class: "read mono", "aria-live": "polite" }), maps = make("div", { class: "maps" });
    const canvases = [["actual", "hand-written"], ["expected", "reference"], ["difference", "difference"], ["used", "error / allowed"]].map(([kind, title]) => {
      const canvas = make("canvas", { width: picture.columns * scale, height: picture.rows * scale, tabindex: "0", role: "img", "data-kind": kind,
        "aria-label": `${title}: arrow keys move` });
      canvas.scale = scale;
      maps.append(make("figure", {}, make("figcaption", {}, title), canvas));
      return [kind, canvas];
    });
    const paintAll = () => { for (const [kind, canvas] of canvases) paint(canvas, picture, grids, kind, slice, slice * grids.cells + cursor); };
    const say = () => {
      const k = slice * grids.cells + cursor, { actual, expected, used } = grids.read;
      said.textContent = `[${indexOf(picture, grids, slice, cursor).join(", ")}]  hand-written ${number(actual[k])}  reference ${number(expected[k])}  ` +
        `difference ${number(actual[k] - expected[k])}  error / allowed ${number(used[k])}${k === worst ? "  (worst)" : ""}`;
    };
    const move = to => { if (to >= 0 && to < grids.cells) { cursor = to; paintAll(); say(); } };
    for (const [, canvas] of canvases) {
      const place = event => {
        const box = canvas.getBoundingClientRect();
        const column = Math.floor((event.clientX - box.left) / box.width * picture.columns), row = Math.floor((event.clientY - box.top) / box.height * picture.rows);
        move(Math.min(picture.rows - 1, Math.max(0, row)) * picture.columns + Math.min(picture.columns - 1, Math.max(0, column)));
      };
      canvas.addEventListener("pointermove", place);
      canvas.addEventListener("pointerdown", place);
      canvas.addEventListener("keydown", event => {
        const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -picture.columns, ArrowDown: picture.columns }[event.key];
        if (by) { event.preventDefault(); move(cursor + by); }
      });
    }
    if (picture.slices.length > 1) {
      const select = make("select", { "aria-label": "slice" });
      picture.slices.forEach((each, k) => select.append(make("option", { value: k }, `[${each.join(", ")}, :, :]`)));
      select.value = slice;
      select.addEventListener("change", () => { slice = Number(select.value); cursor = 0; paintAll(); say(); });
      box.append(make("label", { class: "dim" }, "slice ", select));
    }
    const pooled = picture.shape.length && (picture.rows * picture.columns < (picture.shape.at(-1) * (picture.shape.at(-2) || 1)));
    box.append(maps, said);
    if (pooled) box.append(make("p", { class: "dim" }, "a cell stands for several elements and shows the one nearest to wrong"));
    document.addEventListener("recolour", paintAll);
    paintAll();
    say();
    return box;
  }
  function toggle(row, open) {
    const button = row.querySelector("td.gradient button"), next = row.nextElementSibling;
    let inner = next && next.classList.contains("inner") ? next : null;
    const show = open ?? (!inner || inner.hidden);
    if (show && !inner) {
      const [, report, gradient] = row.id.match(/^r(\d+)-g(\d+)$/).map(Number);
      const found = data.reports[report].gradients[gradient], cell = make("td", { colspan: row.cells.length });
      for (const line of found.said) cell.append(make("p", { class: "said" }, line));
      cell.append(found.picture ? pictureNode(found.picture) : make("p", { class: "dim" }, "its values are not kept: a report has those of the gradients nearest to wrong"));
      inner = make("tr", { class: "inner" }, cell);
      row.after(inner);
    }
    if (inner) inner.hidden = !show;
    button.setAttribute("aria-expanded", String(show));
  }
  document.addEventListener("click", event => {
    const button = event.target.closest("td.gradient button");
    if (button) toggle(button.closest("tr"));
  });
  window.showGradient = (report, name) => {
    const index = data.reports[report].gradients.findIndex(each => each.name === name);
    const row = document.getElementById(`r${report}-g${index}`);
    if (!row) return;
    const rest = row.closest("tbody.rest");
    if (rest) showRest(rest, true, true);
    toggle(row, true);
    row.scrollIntoView({ block: "center" });
    row.querySelector("button").focus({ preventScroll: true });
  };

  // ---- what a link points at is open
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = target; each; each = each.parentElement) {
      if (each.tagName === "DETAILS") each.open = true;
      if (each.matches("tbody.rest")) showRest(each, true, true);
    }
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
