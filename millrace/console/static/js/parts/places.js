// Where the parts of the loop stand and how its edges run: wide, and narrow for a phone.

export const WIDE = {
  width: 1200,
  height: 412,
  node: { width: 168, height: 78 },
  places: {
    upstream: [92, 150], ingest: [330, 150], serving: [612, 150], monitor: [894, 150], downstream: [1108, 48],
    lake: [330, 318], registry: [612, 318], trainer: [894, 318], operators: [1108, 318],
  },
  edges: [
    { source: "upstream", target: "ingest", path: "M146 150 H242", label: [194, 138] },
    { source: "ingest", target: "serving", path: "M414 150 H528", label: [471, 138] },
    { source: "serving", target: "monitor", path: "M696 150 H810", label: [753, 138] },
    { source: "serving", target: "downstream", path: "M612 111 C612 56 660 48 730 48 H1053", label: [800, 38] },
    { source: "ingest", target: "lake", path: "M330 189 V292", label: [338, 238], start: true },
    { source: "ingest", target: "trainer", path: "M396 189 C440 236 440 270 440 320 C440 392 480 396 540 396 H820 C870 396 894 388 894 357", label: [700, 388] },
    { source: "monitor", target: "trainer", path: "M894 189 V279", label: [902, 238], start: true },
    { source: "trainer", target: "registry", path: "M810 318 H696", label: [753, 306] },
    { source: "registry", target: "serving", path: "M612 279 V189", label: [620, 238], start: true },
    { source: "monitor", target: "operators", path: "M978 170 C1060 180 1108 210 1108 292", label: [1078, 206], start: true },
  ],
};

export const NARROW = {
  width: 360,
  height: 700,
  node: { width: 160, height: 78 },
  places: {
    upstream: [126, 40], ingest: [126, 162], serving: [126, 284], monitor: [126, 406], trainer: [126, 528], registry: [126, 650],
    lake: [305, 162], downstream: [305, 284], operators: [305, 406],
  },
  edges: [
    { source: "upstream", target: "ingest", path: "M126 63 V122", label: [134, 105], start: true },
    { source: "ingest", target: "serving", path: "M126 201 V245", label: [134, 227], start: true },
    { source: "serving", target: "monitor", path: "M126 323 V367", label: [134, 349], start: true },
    { source: "serving", target: "downstream", path: "M206 284 H254", label: [230, 274] },
    { source: "ingest", target: "lake", path: "M206 162 H254", label: [230, 152] },
    { source: "monitor", target: "trainer", path: "M126 445 V489", label: [134, 471], start: true },
    { source: "trainer", target: "registry", path: "M126 567 V611", label: [134, 593], start: true },
    { source: "registry", target: "serving", path: "M46 650 H30 Q18 650 18 638 V296 Q18 284 30 284 H46", label: [24, 600], start: true },
    { source: "monitor", target: "operators", path: "M206 406 H254", label: [230, 396] },
  ],
};

export const SMALL = { width: 102, height: 44 }; // parts that are no services of ours
