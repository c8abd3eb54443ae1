"""How the page looks: the colours, type and tables of the demo's page, in light and dark, on a wide screen and a phone.

The colours of the three windows are Okabe and Ito's, told apart with any colour vision; besides, new rows are filled
bars, training a solid line and the previous ones a dashed one.
"""

CSS = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--panel:#f5f7f9;--good:#00664d;
--bad:#a3200d;--warn:#8a5800;--new:#0072b2;--fill:#8fc1e0;--train:#c04a00;--prev:#6b7280;--wash:#e9edf2}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#a3adba;--line:#313a45;--paper:#14181d;--panel:#1c2229;
--good:#4fd1a5;--bad:#ff9b8a;--warn:#f0b54a;--new:#56b4e9;--fill:#27587a;--train:#f0a030;--prev:#a3adba;--wash:#232b34}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem;max-width:72rem;color:var(--ink);background:var(--paper);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .5rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem}
h3{font-size:1rem;margin:0}p{margin:.25rem 0 1rem;max-width:46rem}a{color:inherit}
.soft,small,dt,caption,summary{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
ul.findings{list-style:none;margin:1rem 0;padding:0;display:grid;gap:.4rem}
ul.findings li{background:var(--panel);border-left:4px solid var(--line);border-radius:4px;padding:.45rem .75rem;
display:grid;grid-template-columns:1.4rem 1fr}
ul.findings .bad{border-color:var(--bad);color:inherit}ul.findings .warn{border-color:var(--warn);color:inherit}
ul.findings .good{border-color:var(--good);color:inherit}ul.findings b{font-weight:700}
li.bad>b{color:var(--bad)}li.warn>b{color:var(--warn)}li.good>b{color:var(--good)}li.note>b{color:var(--soft)}
dl.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.5rem;margin:1rem 0}
dl.figures div{background:var(--panel);border-radius:6px;padding:.6rem .75rem}dt{font-size:.85rem}
dd{margin:0;font-size:1.3rem;font-weight:650;font-variant-numeric:tabular-nums}
dd small{font-size:.8rem;font-weight:400;display:block;line-height:1.3}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0;font-size:.9rem}
.key svg{width:26px;height:12px;vertical-align:-1px;margin-right:.35rem}
svg{display:block;width:100%;height:auto;overflow:visible}svg text{fill:var(--soft);font-size:11px;
paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.timeline text{stroke:none}
.key svg,.bar svg{display:inline-block}
.n0{fill:var(--fill)}.e0{stroke:var(--new);stroke-width:1.5;fill:none}
.e1{stroke:var(--prev);stroke-width:1.25;fill:none;stroke-dasharray:3 2.5}
.t1{stroke:var(--prev);stroke-width:1.5;fill:none}
.e2{stroke:var(--train);stroke-width:1.75;fill:none;stroke-linejoin:round}
.axis{stroke:var(--line);stroke-width:1}.limit{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}
.wash{fill:var(--wash)}.alarm{fill:var(--bad)}.warning{fill:var(--warn)}
.hatch-line{stroke:var(--paper);stroke-width:2.5}
svg text.unseen{fill:var(--bad);font-weight:700}svg text.strong{fill:var(--ink)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:.75rem;align-items:start}
article{border:1px solid var(--line);border-radius:8px;padding:.75rem .85rem;min-width:0}
article:target{outline:2px solid var(--new)}article header{display:flex;flex-wrap:wrap;gap:.15rem .5rem;
align-items:baseline;margin-bottom:.4rem}article p{margin:.35rem 0;font-size:.85rem}
.tag{font-size:.75rem;border:1px solid currentColor;border-radius:99px;padding:0 .5rem;white-space:nowrap}
details{margin-top:.35rem;font-size:.85rem}summary{cursor:pointer}
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem .4rem 0;border-bottom:1px solid var(--line)}
th,td{overflow-wrap:break-word}th{font-weight:600}td.id{overflow-wrap:anywhere}.key,h1,li,h3{overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.id{font-family:ui-monospace,monospace;font-size:.8rem}.bar{min-width:11rem;width:24%}
td.role{white-space:nowrap;color:var(--soft)}td.words{min-width:14rem}
article table{font-size:.8rem}article th,article td{padding:.15rem .35rem .15rem 0;overflow-wrap:normal}
article th{font-weight:400;color:var(--soft)}article .drift{margin-top:.4rem}
.narrow{display:none}
@media (max-width:640px){body{padding:.75rem}.wide{display:none}.narrow{display:block}
.cards{grid-template-columns:1fr}dl.figures{grid-template-columns:repeat(2,1fr)}
.stack thead{display:none}.stack tr,.stack td{display:block}.stack td{border:0;padding:.1rem 0;text-align:left}
.stack tr{border-bottom:1px solid var(--line);padding:.5rem 0}.stack td.bar{width:auto}
.glance td:has(.quiet),.glance td:nth-child(4){display:none}
.glance td:nth-child(-n+3)::before{display:none}.glance td.n{grid-column:1/-1}
.glance tr{display:grid;grid-template-columns:1fr 12rem;padding:.35rem 0}.glance td.bar{min-width:0;align-self:center}
.stack td[data-name]::before{content:attr(data-name)": ";color:var(--soft);font-family:system-ui,sans-serif;
font-size:.8rem}}
@media print{details{display:block}article,li{break-inside:avoid}}
"""
