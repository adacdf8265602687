// Dashboards against Grafana's own types: node check.mjs FILE...
// Each panel, variable and annotation becomes a constant of the type that Grafana gives it, with its plugin's
// options, and TypeScript's compiler says what is not known there, missing, or of another kind. One line a finding.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const PANELS = {
  bargauge: 'BarGauge',
  stat: 'Stat',
  'state-timeline': 'StateTimeline',
  table: 'Table',
  timeseries: 'TimeSeries',
};
const places = '@grafana/schema/dist/types/raw/composable';
const imports = Object.values(PANELS).map((name) => {
  const file = `${places}/${name.toLowerCase()}/panelcfg/x/${name}PanelCfg_types.gen`;
  return `import type * as ${name} from '${file}';`;
});
const drawn = Object.entries(PANELS).map(([type, name]) => {
  // Two kinds of panels have no settings of their own for a field.
  const field = ['BarGauge', 'Stat'].includes(name) ? 'Record<never, never>' : `${name}.FieldConfig`;
  return `${JSON.stringify(type)}: Plain<Drawn<${JSON.stringify(type)}, ${name}.Options, ${field}>>;`;
});
const TYPES = `
import type * as g from '@grafana/schema';
${imports.join('\n')}
// What is an enum in TypeScript is its values in JSON.
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Query = {
  refId: string; expr: string; datasource: Source; legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap'; instant?: boolean; range?: boolean };
type Source = { type: 'prometheus'; uid: '\${datasource}' };
type Defaults<F> = Omit<g.FieldConfig, 'custom'> & { custom?: Partial<F> };
type Property<F> = { [K in keyof g.FieldConfig]-?: { id: K; value?: g.FieldConfig[K] } }[keyof g.FieldConfig]
  | { [K in keyof F & string]-?: { id: \`custom.\${K}\`; value?: F[K] } }[keyof F & string];
type Override<F> = { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: Property<F>[] };
type Drawn<T, O, F> = Omit<g.Panel, 'datasource' | 'options' | 'fieldConfig' | 'targets' | 'title' | 'type'> & {
  type: T; title: string; datasource: Source; options: Partial<O>; targets: Query[];
  fieldConfig: { defaults: Defaults<F>; overrides: Override<F>[] } };
type Panels = { row: Plain<g.RowPanel>; ${drawn.join('\n')} };
type Annotation = Plain<Omit<g.AnnotationQuery, 'target' | 'datasource'>
  & { datasource: Source; target: Query; expr: string; titleFormat: string; textFormat: string }>;
type Variable = Plain<g.VariableModel & { definition?: string }>;
type Frame = Plain<Omit<g.Dashboard, 'panels' | 'annotations' | 'templating'>>;
export {};
`;

/** Its parts, each with its type: one line each of what is compiled. */
function parts(dashboard) {
  const { panels, annotations, templating, ...frame } = dashboard;
  return [
    ['Frame', frame],
    ...panels.map((one) => [`Panels[${JSON.stringify(one.type)}]`, one]),
    ...annotations.list.map((one) => ['Annotation', one]),
    ...templating.list.map((one) => ['Variable', one]),
  ].map(([type, part]) => ({ type, part, name: `${part.type ?? type} '${part.title ?? part.name}'` }));
}

const folder = fileURLToPath(new URL('.', import.meta.url));
const sources = new Map();
for (const file of process.argv.slice(2)) {
  const of = parts(JSON.parse(readFileSync(file, 'utf8')));
  const lines = of.map(({ type, part }, number) => `const part${number}: ${type} = ${JSON.stringify(part)};\n`);
  sources.set(`${folder}${basename(file)}.ts`, { file, of, text: lines.join('') + TYPES });
}
const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.CommonJS,
  moduleResolution: ts.ModuleResolutionKind.Node10,
  target: ts.ScriptTarget.ES2022,
};
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists } = host;
host.fileExists = (name) => sources.has(name) || fileExists(name);
host.getSourceFile = (name, ...rest) =>
  sources.has(name) ? ts.createSourceFile(name, sources.get(name).text, ...rest) : getSourceFile(name, ...rest);

const found = ts.getPreEmitDiagnostics(ts.createProgram([...sources.keys()], options, host));
for (const { file, start, messageText } of found) {
  const made = file && sources.get(file.fileName);
  const said = ts.flattenDiagnosticMessageText(messageText, ' ').slice(0, 300);
  const near = file ? file.text.slice(start, start + 60) : '';
  const name = made?.of[file.getLineAndCharacterOfPosition(start).line]?.name ?? 'the types';
  console.log(`${made?.file ?? file?.fileName ?? 'options'}: ${name} at ${near}: ${said}`);
}
process.exitCode = found.length > 0 ? 1 : 0;
