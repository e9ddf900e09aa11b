/**
 * `npm run conformance -- FOLDER`: every reference file of the folder, on every backend and instruction set of this machine.
 * Exits with 1 when an error exceeds its limit, a file is malformed, or the folder has none.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { availableIsas, setIsa } from '../../lib/device';
import { type Case, type Comparison, readCase } from './cases';

const good = ({ error, limit }: Comparison): boolean => error <= limit;

function line(where: string, name: string, comparison: Comparison): string {
  const { tensor, error, limit } = comparison;
  const verdict = good(comparison) ? 'ok' : `EXCEEDS ${limit}`;
  return `${where.padEnd(13)} ${name.padEnd(28)} ${tensor.padEnd(10)} ${error.toExponential(2).padStart(9)}  ${verdict}`;
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function main(folder: string | undefined): boolean {
  if (folder === undefined) {
    console.error('usage: npm run conformance -- FOLDER');
    return false;
  }
  const problems: string[] = [];
  const cases: Case[] = [];
  const files = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
  for (const file of files.sort()) {
    try {
      cases.push(readCase(join(folder, file)));
    } catch (error) {
      problems.push(`${file}: ${message(error)}`);
    }
  }
  if (files.length === 0) problems.push(`${folder}: no .safetensors file`);
  let compared = 0;
  for (const isa of availableIsas()) {
    setIsa(isa);
    for (const { name, compute, compare } of cases) {
      try {
        for (const comparison of compare(compute())) {
          console.log(line(`cpu/${isa}`, name, comparison));
          compared++;
          if (!good(comparison)) problems.push(`${name} on ${isa}: ${comparison.tensor} exceeds its limit`);
        }
      } catch (error) {
        problems.push(`${name} on ${isa}: ${message(error)}`);
      }
    }
  }
  for (const problem of problems) console.error(`conformance: ${problem}`);
  console.log(`conformance: ${cases.length} files, ${compared} comparisons, ${problems.length} problems`);
  return problems.length === 0;
}

try {
  process.exitCode = main(process.argv[2]) ? 0 : 1;
} catch (error) {
  console.error(`conformance: ${message(error)}`);
  process.exitCode = 1;
}
