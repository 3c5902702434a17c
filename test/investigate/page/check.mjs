// Opens an HTML report in headless Chromium and checks what a reader would see:
//   node check.mjs REPORT.html [--pictures DIR] [--terminal ANSI.txt]
// One line for each check, "PASS what" or "FAIL what: why"; ends with code 1 after a failure. With --pictures it also saves
// pictures of the page; with --terminal one of a terminal that shows the text of that file.
import { chromium } from "playwright-core";
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const args = process.argv.slice(2);
const option = (name) => {
  const at = args.indexOf(name);
  return at < 0 ? undefined : args.splice(at, 2)[1];
};
const pictures = option("--pictures");
const terminal = option("--terminal");
const report = resolve(args[0]);

let failed = 0;
const check = (what, why) => {
  if (why) failed++;
  console.log(why ? `FAIL ${what}: ${why}` : `PASS ${what}`);
};

// What the page says of itself: run inside it.
const inspect = () => {
  const problems = { charts: [], text: [], overflow: [] };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const judge = (element, colour, what) => {
    const [a, b] = [luminance(parse(colour)), luminance(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) problems.text.push(`${what} "${element.textContent.trim().slice(0, 40)}" has contrast ${contrast.toFixed(1)}`);
  };
  for (const chart of document.querySelectorAll("svg.chart")) {
    const name = chart.getAttribute("aria-label");
    const box = chart.getBoundingClientRect();
    if (box.width < 200 || box.height < 20) problems.charts.push(`${name} is ${box.width} x ${box.height}`);
    const marks = [...chart.querySelectorAll(".curve, .bar")];
    if (!marks.some((m) => m.getBBox().width > 0 || m.getBBox().height > 0)) problems.charts.push(`${name} shows nothing`);
    for (const text of chart.querySelectorAll("text")) {
      const t = text.getBoundingClientRect();
      if (t.height < 11) problems.text.push(`chart text "${text.textContent}" is ${t.height.toFixed(1)} px high`);
      if (t.left < box.left - 1 || t.right > box.right + 1) problems.charts.push(`"${text.textContent}" leaves ${name}`);
      judge(text, getComputedStyle(text).fill, "chart text");
    }
  }
  for (const e of document.querySelectorAll("h1, h2, h3, p, dt, dd, li, td, th, .state, .level, summary")) {
    const box = e.getBoundingClientRect();
    if (box.width === 0) continue; // in closed details
    const style = getComputedStyle(e);
    if (parseFloat(style.fontSize) < 12) problems.text.push(`"${e.textContent.slice(0, 40)}" is ${style.fontSize}`);
    judge(e, style.color, "text");
    if (!e.closest(".wide, pre") && box.right > innerWidth + 1) problems.overflow.push(`"${e.textContent.slice(0, 40)}" ends at ${box.right}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) problems.overflow.push(`the page is ${document.documentElement.scrollWidth} wide of ${innerWidth}`);
  return { ...problems, charts_drawn: document.querySelectorAll("svg.chart").length, ground: getComputedStyle(document.body).backgroundColor };
};

const some = (list) => list.slice(0, 5).join("; ");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const grounds = new Set();
  for (const [device, width, height] of [["desk", 1280, 900], ["phone", 390, 844]]) {
    for (const colorScheme of ["light", "dark"]) {
      const name = `${device}, ${colorScheme}`;
      const page = await browser.newPage({ viewport: { width, height }, colorScheme });
      const noise = [], requests = [];
      page.on("console", (m) => ["error", "warning"].includes(m.type()) && noise.push(m.text()));
      page.on("pageerror", (e) => noise.push(String(e)));
      page.on("request", (r) => !r.url().startsWith("file:") && !r.url().startsWith("data:") && requests.push(r.url()));
      await page.goto("file://" + report, { waitUntil: "load" });
      const seen = await page.evaluate(inspect);
      grounds.add(colorScheme + seen.ground);
      check(`${name}: no error on the console`, some(noise));
      check(`${name}: nothing is loaded from the network`, some(requests));
      check(`${name}: charts are drawn`, seen.charts_drawn === 0 && !args.includes("--no-charts") ? "there is none" : some(seen.charts));
      check(`${name}: text is large and dark enough to read`, some(seen.text));
      check(`${name}: nothing leaves the screen`, some(seen.overflow));
      if (pictures) {
        mkdirSync(pictures, { recursive: true });
        await page.screenshot({ path: join(pictures, `report-${device}-${colorScheme}.png`), fullPage: device === "desk" && colorScheme === "light", animations: "disabled" });
      }
      await page.close();
    }
  }
  check("dark and light differ", grounds.size === 2 ? "" : [...grounds].join(" "));

  const page = await browser.newPage();
  await page.goto("file://" + report);
  const copy = page.locator(".command button").first();
  if (await copy.count()) {
    await copy.click();
    await page.waitForFunction(() => document.querySelector(".command button").textContent === "Copied", null, { timeout: 5000 }).then(
      () => check("a command can be copied", ""), (e) => check("a command can be copied", String(e)));
  }
  await page.close();

  if (terminal && pictures) await drawTerminal(readFileSync(terminal, "utf8"), join(pictures, "terminal.png"));
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);

// drawTerminal makes a picture of what a terminal shows; it knows the few escapes that the report uses.
async function drawTerminal(text, path) {
  const styles = { 1: "font-weight:700", 2: "opacity:.65", 31: "color:#ff7b72", 32: "color:#7ee787", 33: "color:#e3b341", 36: "color:#79c0ff" };
  const html = text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)
    .replace(/\x1b\[([\d;]*)m/g, (_, codes) => codes === "0" || codes === "" ? "</span>" : `<span style="${codes.split(";").map((c) => styles[c] ?? "").join(";")}">`);
  const page = await browser.newPage({ viewport: { width: 980, height: 400 }, deviceScaleFactor: 1 });
  await page.setContent(`<body style="margin:0;background:#0d1117"><pre style="margin:0;padding:18px;color:#e6edf3;font:14px/1.4 'Liberation Mono','DejaVu Sans Mono',monospace">${html}</pre></body>`);
  await page.screenshot({ path, fullPage: true });
  await page.close();
}
