"""The style sheet of the HTML report."""

STYLESHEET = """\
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4;
  --wash: #f6f8fa; --accent: #0072b2; --mark: #9a4a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e3e6ea; --soft: #9aa4af; --line: #333a43;
    --wash: #1c2128; --accent: #56b4e9; --mark: #f0a860;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
    "Liberation Sans", Arial, sans-serif;
}
main { max-width: 66rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1, h2 { line-height: 1.2; letter-spacing: -0.012em; text-wrap: balance; }
h1 { font-size: 2.1rem; margin: 0 0 1.2rem; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 0.8rem; padding-top: 1.1rem;
  border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; margin: 0 0 0.9rem; }
p, figcaption { text-wrap: pretty; }
ul { padding-left: 1.2rem; }
li { margin: 0.25rem 0; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre { font: 0.88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; }
pre { margin: 0 0 1rem; padding: 0.8rem 1rem; overflow-x: auto; border-radius: 6px;
  background: var(--wash); }
.lead p:first-child { font-size: 1.08rem; color: var(--soft); }
nav { margin: 1.8rem 0 0; font-size: 0.93rem; }
nav ol { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; margin: 0; padding: 0;
  list-style: none; }

figure { margin: 1.2rem 0 2rem; }
figcaption { max-width: 46rem; color: var(--soft); font-size: 0.88rem;
  line-height: 1.45; }
.plot img { display: block; width: 100%; max-width: 46rem; height: auto; padding: 8px;
  margin-bottom: 0.5rem; border-radius: 6px; background: #fff; }
.plot.narrow { display: inline-block; vertical-align: top; width: 19.6rem;
  max-width: 100%; margin-right: 1rem; }
.plot.narrow figcaption { padding: 0 8px; }

.scroll { overflow-x: auto; margin-top: 0.6rem; border-block: 2px solid var(--ink); }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; line-height: 1.3; }
th, td { padding: 0.5rem 0.7rem; text-align: right; vertical-align: top;
  border-top: 1px solid var(--line); }
thead th { vertical-align: bottom; border-top: 0; border-bottom: 1px solid var(--ink);
  white-space: nowrap; }
tbody tr:first-child > * { border-top: 0; }
th:first-child { position: sticky; left: 0; z-index: 1; text-align: left;
  background: var(--paper); }
th b { font-weight: 600; }
th code { white-space: nowrap; }
td b { font-weight: 500; }
td small, th small { display: block; color: var(--soft); font-size: 0.76rem;
  font-weight: 400; white-space: nowrap; }
td[style] { background: color-mix(in srgb, var(--accent) calc(var(--share) * 0.28),
  transparent); }
.mark { display: block; color: var(--mark); font-size: 0.72rem; font-weight: 600;
  white-space: nowrap; }
.wide table { font-size: 0.82rem; }
.wide th, .wide td { padding: 0.35rem 0.5rem; }
.listing td:nth-child(2), .listing th:nth-child(2), .text th, .text td {
  text-align: left; }
.listing td:nth-child(2) small { white-space: normal; min-width: 11rem; }
.text th:first-child { position: static; white-space: nowrap; }

@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  th, td { padding: 0.45rem 0.5rem; }
  .plot { overflow-x: auto; }
  .plot:not(.narrow) img { min-width: 34rem; }
  .plot figcaption { position: sticky; left: 0; }
  .plot.narrow { width: 100%; }
}
@page { size: A4; margin: 16mm; }
@page wide { size: A4 landscape; margin: 12mm; }
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --line: #ccc; --wash: #f6f6f6;
    --accent: #0072b2; --mark: #7a3b00; }
  body { font-size: 10pt; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { margin-top: 1.6rem; break-after: avoid; }
  .scroll { overflow: visible; }
  .plot, tr, pre { break-inside: avoid; }
  .plot img { padding: 0; max-width: 15cm; }
  table { font-size: 8pt; }
  th, td { padding: 0.25rem 0.3rem; }
  td small, th small, .mark { font-size: 6.5pt; }
  .wide td small { white-space: normal; }
  .table:not(:has(.wide)) { break-inside: avoid; }
  .plot.narrow { width: 31%; margin-right: 1.5%; }
  section:has(.wide) { page: wide; }
}
"""
