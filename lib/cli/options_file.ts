/** The options of a run as a JSON file: `--config` reads it, and each run writes the one that repeats it. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { FileError, FormatError } from '../errors';
import { readJson, writeJson } from '../io/files';
import { checkKeys, isObject } from '../options';
import { UsageError } from './failure';
import { onePath, path } from './values';

/** The name of the file in a run's folder, and what tells it from a file of somebody else's. */
const NAME = 'options.json';
const MARK = { command: 'train' } as const;

/** They say where and how this process writes, not what the run is. */
const OF_THE_PROCESS = ['config', 'out', 'force', 'resume', 'report', 'sample', 'json'];
/** One of them decides how long a run is. */
const BUDGETS = ['steps', 'target-tokens', 'target-flops'];

/** `no-bias` for --no-bias. */
const nameOf = ({ long }: Option): string => (long ?? '').slice(2);

const ofRun = (command: Command): readonly Option[] =>
  command.options.filter((option) => !OF_THE_PROCESS.includes(nameOf(option)) && nameOf(option) !== 'help');

const isGiven = (command: Command, option: Option): boolean =>
  command.getOptionValueSource(option.attributeName()) !== 'default' &&
  command.getOptionValue(option.attributeName()) !== undefined;

/** Whether a text is a path, which is kept as an absolute one. */
const isPath = ({ parseArg }: Option, value: unknown): value is string =>
  (parseArg === path || parseArg === onePath) && typeof value === 'string' && !/^(byte$|bpe:)/.test(value);

/** Writes the file of a run into its folder. Returns why not, if it cannot, or another program's file has the name. */
export function writeOptions(folder: string, options: Readonly<Record<string, unknown>>): string | null {
  const path = join(folder, NAME);
  try {
    if (existsSync(path) && !isOurs(path)) return `${path} is not a run's and stays as it is`;
    writeJson(path, { ...MARK, ...options });
    return null;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return error.message;
  }
}

function isOurs(path: string): boolean {
  try {
    const found = readJson(path);
    return isObject(found) && found.command === MARK.command;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/** All options with their values, the default ones too. */
export function optionsOf(command: Command): Record<string, unknown> {
  const options = ofRun(command);
  const budget = options.find((option) => BUDGETS.includes(nameOf(option)) && isGiven(command, option));
  return Object.fromEntries(
    options.flatMap((option) => {
      const name = nameOf(option);
      if (budget && budget !== option && BUDGETS.includes(name)) return [];
      const value = command.getOptionValue(option.attributeName());
      if (option.negate) return value === false ? [[name, true]] : [];
      if (value === undefined) return [];
      return [[name, isPath(option, value) ? resolve(value) : value]];
    }),
  );
}

/**
 * Sets the options of the file that the command line does not set.
 * @throws {UsageError | OptionError} naming the option that is none, or whose value is none. @throws {FileError}
 */
export function applyOptions(command: Command, file: string): void {
  const read = readJson(file);
  if (!isObject(read)) throw new UsageError(`--config ${file}: it is not an object of options`);
  const { command: of = MARK.command, ...given } = read;
  if (of !== MARK.command)
    throw new UsageError(`--config ${file}: command: expected 'train', got ${JSON.stringify(of)}`);
  const options = ofRun(command);
  checkKeys(`--config ${file}`, given, Object.fromEntries(options.map((option) => [nameOf(option), 0])));
  const budgets = options.filter((option) => BUDGETS.includes(nameOf(option)));
  const named = budgets.filter((option) => nameOf(option) in given).map(nameOf);
  if (named.length > 1) throw new UsageError(`--config ${file}: it has ${named.join(' and ')}; one of them decides`);
  const decided = budgets.some((option) => command.getOptionValueSource(option.attributeName()) === 'cli');
  for (const [name, value] of Object.entries(given)) {
    const option = options.find((one) => nameOf(one) === name)!;
    const attribute = option.attributeName();
    if (command.getOptionValueSource(attribute) === 'cli' || (decided && budgets.includes(option))) continue;
    command.setOptionValueWithSource(attribute, parsed(file, option, value), 'config');
  }
}

function parsed(file: string, option: Option, value: unknown): unknown {
  const where = `--config ${file}: ${nameOf(option)}`;
  if (option.isBoolean() || option.negate) {
    if (typeof value !== 'boolean')
      throw new UsageError(`${where}: expected true or false, got ${JSON.stringify(value)}`);
    return option.negate ? !value : value;
  }
  if (!['string', 'number'].includes(typeof value) && !Array.isArray(value))
    throw new UsageError(`${where}: expected a text or a number, got ${JSON.stringify(value)}`);
  try {
    return option.parseArg ? option.parseArg(String(value), undefined) : String(value);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new UsageError(`${where}: ${JSON.stringify(value)} is invalid. ${error.message}`);
  }
}
