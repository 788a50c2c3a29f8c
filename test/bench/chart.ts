/** Charts as SVG: a panel a metric and scene, with bars and their spread; or curves over a growing number. */
import type { Row } from './results.ts';
import type { Section } from './section.ts';

const [WIDTH, LABELS, BAR, HEAD, PAD] = [760, 190, 18, 34, 16];
const CURVE_HEIGHT = 150;
const [OURS_COLOUR, OTHER_COLOUR, INK, FAINT] = ['#2f6fdf', '#9aa7b8', '#22272e', '#d0d7de'];

/** A whole document. */
export function draw(section: Section, rows: readonly Row[], ours: string): string {
  const panels: string[] = [];
  let height = 46;
  for (const panel of section.chart === 'curves' ? curvePanels(section, rows) : barPanels(section, rows, ours)) {
    panels.push(`<g transform="translate(0,${height})">${panel.body}</g>`);
    height += panel.height;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height + PAD}" viewBox="0 0 ${WIDTH} ${height + PAD}" font-family="system-ui, sans-serif" font-size="12" fill="${INK}">
<rect width="100%" height="100%" fill="#ffffff"/>
${text(PAD, 28, section.title, 'font-size="18" font-weight="600"')}
${panels.join('\n')}
</svg>
`;
}

interface Panel {
  readonly body: string;
  readonly height: number;
}

function barPanels(section: Section, rows: readonly Row[], ours: string): Panel[] {
  return drawn(section).flatMap((metric) => {
    const scenes = [...new Set(rows.filter((row) => row.metric === metric).map(({ scene }) => scene))];
    return scenes.map((scene) =>
      bars(
        section,
        rows.filter((row) => row.metric === metric && row.scene === scene),
        `${scene}: ${metric}`,
        ours,
      ),
    );
  });
}

function bars(section: Section, rows: readonly Row[], title: string, ours: string): Panel {
  const most = Math.max(...rows.map(({ greatest }) => greatest), Number.MIN_VALUE);
  const scale = (WIDTH - LABELS - 110) / most;
  const lines = rows.map((row, index) => {
    const y = HEAD + index * (BAR + 5);
    const digits = section.metrics[row.metric]?.digits ?? 1;
    const [from, to, end] = [row.least, row.greatest, row.median].map((value) => LABELS + value * scale) as [number, number, number];
    const middle = y + BAR / 2;
    return [
      text(LABELS - 8, middle + 4, row.competitor, 'text-anchor="end"'),
      `<rect x="${LABELS}" y="${y}" width="${fixed(Math.max(1, end - LABELS))}" height="${BAR}" fill="${row.competitor === ours ? OURS_COLOUR : OTHER_COLOUR}"/>`,
      `<path d="M${fixed(from)} ${middle}H${fixed(to)}M${fixed(from)} ${middle - 4}v8M${fixed(to)} ${middle - 4}v8" stroke="${INK}" fill="none"/>`,
      text(Math.max(end, to) + 6, middle + 4, `${row.median.toFixed(digits)} ${row.unit}`),
    ].join('');
  });
  return { body: text(PAD, 20, title, 'font-weight="600"') + lines.join('\n'), height: HEAD + rows.length * (BAR + 5) + 8 };
}

/** Scenes are `NUMBER THING`; a panel a thing and metric, its number on a logarithmic axis. */
function curvePanels(section: Section, rows: readonly Row[]): Panel[] {
  const things = [...new Set(rows.map(({ scene }) => scene.replace(/^\d+ /, '')))];
  return things.flatMap((thing) =>
    drawn(section).map((metric) =>
      curve(
        rows.filter((row) => row.metric === metric && row.scene.endsWith(` ${thing}`)),
        `${metric} by ${thing}`,
        section.metrics[metric]?.digits ?? 1,
      ),
    ),
  );
}

function curve(rows: readonly Row[], title: string, digits: number): Panel {
  const sorted = rows.map((row) => ({ at: Number.parseInt(row.scene, 10), ...row })).sort((a, b) => a.at - b.at);
  const most = Math.max(...sorted.map(({ greatest }) => greatest), Number.MIN_VALUE) * 1.1;
  const [low, high] = [Math.log10(sorted[0]?.at ?? 1), Math.log10(sorted.at(-1)?.at ?? 1)];
  const x = (at: number) => 60 + ((Math.log10(at) - low) / Math.max(high - low, 0.001)) * (WIDTH - 180);
  const y = (value: number) => HEAD + CURVE_HEIGHT * (1 - value / most);
  const line = sorted.map(({ at, median }, index) => `${index === 0 ? 'M' : 'L'}${fixed(x(at))} ${fixed(y(median))}`).join('');
  const spread = sorted.map(({ at, least, greatest }) => `M${fixed(x(at))} ${fixed(y(least))}V${fixed(y(greatest))}`).join('');
  const labels = sorted.map(
    ({ at, median, unit }) =>
      `<circle cx="${fixed(x(at))}" cy="${fixed(y(median))}" r="3.5" fill="${OURS_COLOUR}"/>${text(x(at) + 7, y(median) - 7, `${median.toFixed(digits)} ${unit}`)}${text(x(at), HEAD + CURVE_HEIGHT + 16, String(at), 'text-anchor="middle"')}`,
  );
  const axis = `<path d="M60 ${HEAD}V${HEAD + CURVE_HEIGHT}H${WIDTH - 60}" stroke="${FAINT}" fill="none"/>`;
  const body = `${text(PAD, 20, title, 'font-weight="600"')}${axis}<path d="${line}" stroke="${OURS_COLOUR}" stroke-width="2" fill="none"/><path d="${spread}" stroke="${INK}" fill="none"/>${labels.join('')}`;
  return { body, height: HEAD + CURVE_HEIGHT + 30 };
}

function drawn(section: Section): string[] {
  return Object.keys(section.metrics).filter((metric) => section.metrics[metric]?.isDrawn);
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`;
}

function fixed(value: number): string {
  return value.toFixed(1);
}
