#!/usr/bin/env node
/** The command line. Commands load the library only when they run, so that `build` and `--help` work without a binary. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { ROW_ORDERS } from '../data/row_order';
import { INNER_ACTIVATIONS } from '../ops/inner_activation';
import { SCHEDULE_NAMES } from '../optim/schedule';
import { STRUCTURE_NAMES } from '../structures';
import { CHANGEABLE } from '../train/changeable';
import { fail, USED_WRONGLY, UsageError } from './failure';
import { optionOf } from './option_names';
import { applyOptions, optionsOf } from './options_file';
import { watchOutput } from './output';
import { blockCounts, decimal, deviceName, onePath, path, positiveInteger, wholeNumber } from './values';

const { version } = JSON.parse(readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8')) as {
  version: string;
};

watchOutput();

/** The options of `train` that a run that goes on takes; everything else is in its checkpoint. */
const WITH_RESUME = ['--resume', '--threads', '--report', '--sample', '--json', ...CHANGEABLE.map(optionOf)];

/** What was given of the values that may differ in a run that goes on, by their names in its config. */
function changesGiven(command: Command): Record<string, unknown> {
  const given = command.options.filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli');
  return Object.fromEntries(
    CHANGEABLE.flatMap((name) =>
      given
        .filter(({ long }) => long === optionOf(name))
        .map((option) => [name, command.getOptionValue(option.attributeName())]),
    ),
  );
}

/** @throws {UsageError} naming an option that was given and would have no effect. */
function checkGiven(command: Command, beside: string, taken: readonly string[]): void {
  const flags = command.options.map(({ long }) => long ?? '').filter((flag) => taken.includes(flag));
  for (const option of command.options) {
    const name = option.attributeName();
    if (command.getOptionValueSource(name) === 'cli' && !taken.includes(option.long ?? ''))
      throw new UsageError(
        `${option.long}: ${beside} goes on with the run's own settings; what may change is ${flags.join(', ')}`,
      );
  }
}

const activations = () =>
  new Option(
    '--activations <name>',
    'rows that meet int8 weights: as they are, or rounded to int8, which is faster for many rows and loses a little ' +
      '(default: float32)',
  ).choices(['float32', 'int8']);

const program = new Command('structured-ffn')
  .description('Train and run transformer language models with structured feedforward layers.')
  .version(version)
  .option('--debug', 'show stack traces of errors')
  .showHelpAfterError('(--help lists the options)')
  .configureHelp({ helpWidth: 110 })
  // Subcommands inherit this. Help and the version end the program too, with 0.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USED_WRONGLY));

program
  .command('train')
  .description('Train a language model on text or tokens, or resume from a checkpoint.')
  .optionsGroup('Data:')
  .option(
    '--data <path>',
    'a text file, or a folder of text files (links are followed); every tenth file is held out, or the last tenth of one file',
    onePath,
  )
  .option('--tokens <file>', 'a file of uint16 token ids instead of text', onePath)
  .option('--validation-tokens <file>', 'token ids to evaluate on', path)
  .option('--tokenizer <kind>', 'byte, bpe:SIZE (trained on the data) or a tokenizer.json (default: bpe:2048)', path)
  .option('--vocab-size <n>', 'vocabulary of --tokens', positiveInteger)
  .addOption(new Option('--order <order>', 'order of the rows').choices(ROW_ORDERS).default('random'))
  .optionsGroup('Model:')
  .option('--preset <name>', 'tiny, mini, small (for a laptop), s, m, l, xl (of the paper) (default: mini)')
  .addOption(
    new Option('--structure <name>', 'structure of the feedforward layers (default: lowrank)').choices(STRUCTURE_NAMES),
  )
  .option('--ratio <part>', 'part of the dense feedforward parameters to keep (default: 0.32)', decimal)
  .option('--rank <n>', 'rank, instead of --ratio', positiveInteger)
  .option(
    '--nblocks <n>',
    'number of blocks, or two numbers (4,8) for the two factors, instead of --ratio',
    blockCounts,
  )
  .addOption(
    new Option('--activation <name>', 'activation of the feedforward layers').choices([
      'gelu',
      'silu',
      'relu',
      'swiglu',
    ]),
  )
  .addOption(
    new Option('--inner-activation <name>', 'activation between the factors of each layer (default: none)').choices(
      INNER_ACTIVATIONS,
    ),
  )
  .option('--d-model <n>', 'width of the model (default: from the preset)', positiveInteger)
  .option('--layers <n>', 'number of blocks (default: from the preset)', positiveInteger)
  .option('--heads <n>', 'attention heads (default: from the preset)', positiveInteger)
  .option('--kv-heads <n>', 'key and value heads (default: as many as heads)', positiveInteger)
  .option('--head-size <n>', 'width of one head (default: the width divided by the heads)', positiveInteger)
  .option('--d-ff <n>', 'hidden width of the feedforward layers (default: 4 times the width)', positiveInteger)
  .addOption(new Option('--norm <kind>', 'layer norms or RMS norms (default: layer)').choices(['layer', 'rms']))
  .option('--norm-eps <value>', 'value that norms add to the variance (default: 1e-5)', decimal)
  .option('--no-bias', 'no biases in linear layers and norms')
  .option('--rope-base <value>', 'base of the rotary positions; 0: no rotary positions (default: 10000)', decimal)
  .option('--untied', 'use a separate output projection instead of the embedding')
  .option('--seq-len <n>', 'context length (default: from the preset)', positiveInteger)
  .option('--all-structured', "use the structure also in the first block's feedforward network")
  .option(
    '--init <checkpoint>',
    'start from the model and weights of a checkpoint folder or .safetensors file; --structure and sizes convert its layers',
    path,
  )
  .optionsGroup('Training:')
  .option('--steps <n>', 'optimizer steps', positiveInteger, 400)
  .addOption(
    new Option('--target-tokens <n>', 'as many steps as see at most so many tokens, such as 1e6')
      .argParser(decimal)
      .conflicts(['steps', 'targetFlops']),
  )
  .addOption(
    new Option(
      '--target-flops <n>',
      'as many steps as compute at most so many operations, guide and optimizer included',
    )
      .argParser(decimal)
      .conflicts('steps'),
  )
  .option('--batch-size <n>', 'rows in one forward pass', positiveInteger, 8)
  .option('--accumulate <n>', 'forward passes in one step', positiveInteger, 1)
  .option('--lr <rate>', 'peak learning rate', decimal, 2e-3)
  .addOption(
    new Option('--schedule <name>', 'learning rate schedule; wsd: the peak, then a line at the end')
      .choices(SCHEDULE_NAMES)
      .default('cosine'),
  )
  .option('--min-lr <rate>', 'learning rate at the end (default: a tenth of the peak)', decimal)
  .option('--decay-part <part>', 'part of the steps in which the rate of wsd falls (default: 0.2)', decimal)
  .option('--warmup <part>', 'part of the steps for the warmup', decimal, 0.1)
  .addOption(
    new Option('--optimizer <name>', 'muon: for matrices, with AdamW for the rest')
      .choices(['adamw', 'muon'])
      .default('adamw'),
  )
  .option('--weight-decay <rate>', 'weight decay of the optimizer', decimal, 0.1)
  .addOption(
    new Option('--decay <which>', 'parameters with weight decay; matrices: no norms, biases, embeddings')
      .choices(['all', 'matrices'])
      .default('all'),
  )
  .option('--max-grad-norm <norm>', 'clip gradients to this norm; 0: no clipping', decimal, 1)
  .option(
    '--skip-non-finite <n>',
    'skip up to so many steps in a row whose loss or gradients are not finite',
    wholeNumber,
  )
  .option('--skip-z-score <z>', 'skip steps so many standard deviations above the mean loss or gradient norm', decimal)
  .addOption(
    new Option('--guidance <protocol>', 'self-guided training (default: fixed-step; none with --init)').choices([
      'fixed-step',
      'fixed-flop',
      'none',
    ]),
  )
  .option('--guided-part <part>', 'guided steps, as a part of all steps (default: 0.5; fixed-flop: 0.3)', decimal)
  .addOption(
    new Option('--guidance-form <form>', 'how the guide is mixed in').choices(['published', 'unbiased', 'mixed']),
  )
  .addOption(new Option('--alpha-schedule <name>', 'how the weight of the guide falls').choices(['cosine', 'linear']))
  .option('--seed <n>', 'seed of the initial weights and all random draws', wholeNumber, 0)
  .option('--threads <n>', 'compute threads (default: the physical cores)', positiveInteger)
  .option('--device <name>', 'where the model is trained: cpu, cuda, cuda:N', deviceName, 'cpu')
  .addOption(
    new Option('--precision <dtype>', 'type of weights and activations')
      .choices(['float32', 'bfloat16'])
      .default('float32'),
  )
  .option(
    '--record-steps',
    'record the training step as a CUDA graph and replay it, after the guided steps; only on cuda',
  )
  .option(
    '--config <file>',
    'a JSON file of options, such as the options.json of a run; options beside it go before',
    path,
  )
  .optionsGroup('Output:')
  .option(
    '--out <folder>',
    'folder for the checkpoint, tokens and tokenizer (default: the next number in runs; runs/latest links to it)',
    path,
  )
  .option('--force', 'replace the run that --out holds, at the first checkpoint of the new one')
  .option(
    '--resume <folder>',
    'continue this run with its own settings, or with other --steps, --lr and more (docs/training.md lists all)',
    path,
  )
  .option(
    '--eval-every <n>',
    'steps between evaluations on a part of the held-out text (default: as for --save-every)',
    positiveInteger,
  )
  .option('--keep-best', 'keep the model with the lowest loss of these evaluations in checkpoint-best')
  .option('--patience <n>', 'end the run after so many of these evaluations without a lower loss', positiveInteger)
  .option(
    '--save-every <n>',
    'steps between checkpoints; one is always written at the end (default: by time, see docs/cli.md)',
    positiveInteger,
  )
  .option('--report <file>', 'write a report of the run as one HTML page', path)
  .option('--sample <text>', 'after training, generate and print what follows this text')
  .option('--json', 'one JSON object per line on standard output, and nothing else')
  .addHelpText(
    'after',
    `
Examples:
  structured-ffn train --data books/ --preset mini --structure lowrank --steps 600 --report report.html
  structured-ffn train --data book.txt --tokenizer byte --structure blockshuffle --ratio 0.63 --guidance none
  structured-ffn train --resume runs/latest/checkpoint
  structured-ffn train --init runs/latest/checkpoint --tokens train.bin --order sequential --json

Ctrl-C finishes the step, saves and exits with code 130; a second Ctrl-C exits at once. SIGTERM and SIGHUP do the same with 143
and 129, and so does a run whose output is no longer read, with 141.`,
  )
  .action(async (options, command: Command) => {
    if (options.resume !== undefined) checkGiven(command, `--resume ${options.resume}`, WITH_RESUME);
    if (options.config !== undefined) applyOptions(command, options.config);
    const changes = options.resume === undefined ? {} : changesGiven(command);
    await (await import('./train_command.js')).trainCommand(command.opts(), changes, optionsOf(command));
  });

program
  .command('eval')
  .description('Compute the loss of a checkpoint on text or tokens.')
  .argument('<checkpoint>', 'folder, or .safetensors file with its config.json', path)
  .option('--data <path>', 'a text file, or a folder of text files (links are followed)', onePath)
  .option('--tokens <file>', 'a file of uint16 token ids instead of text', onePath)
  .option('--batch-size <n>', 'rows in one forward pass', positiveInteger, 8)
  .option('--json', 'print the result as one JSON object')
  .addHelpText('after', '\nExample:\n  structured-ffn eval runs/latest/checkpoint --data other_book.txt')
  .action(async (checkpoint, options) => (await import('./eval_command.js')).evalCommand(checkpoint, options));

program
  .command('generate')
  .description('Generate text that follows a prompt.')
  .argument('<checkpoint>', 'folder, or .safetensors file with its config.json', path)
  .requiredOption('--prompt <text>', 'text to continue')
  .option('--max-new-tokens <n>', 'maximum number of new tokens', positiveInteger, 200)
  .option('--temperature <t>', 'temperature of the draws; 0: always the most likely token', decimal, 0.8)
  .option('--top-k <n>', 'draw among this many most likely tokens; 0: all', wholeNumber, 40)
  .option('--top-p <p>', 'draw among the most likely tokens that together have this probability', decimal, 1)
  .option('--min-p <p>', 'draw among tokens with at least this fraction of the highest probability', decimal, 0)
  .option('--repetition-penalty <x>', 'above 1: tokens seen before become less likely', decimal, 1)
  .option('--stop <text...>', 'end before any of these texts')
  .option('--seed <n>', 'seed of the random draws', wholeNumber, 0)
  .addOption(
    new Option('--dtype <name>', "type of the weights (default: the checkpoint's)").choices([
      'float32',
      'bfloat16',
      'int8',
    ]),
  )
  .addOption(
    new Option('--cache-dtype <name>', 'type of cached keys and values; bfloat16 takes half the memory')
      .choices(['float32', 'bfloat16'])
      .default('float32'),
  )
  .addOption(activations())
  .option('--device <name>', 'where the model runs: cpu, cuda, cuda:N', deviceName, 'cpu')
  .addOption(
    new Option(
      '--dispatch <how>',
      'compute structured layers with factors, with merged matrices, or with the faster form (measured)',
    )
      .choices(['factored', 'merged', 'auto'])
      .default('factored'),
  )
  .option('--merge-budget <MB>', 'maximum megabytes of merged copies (default: no limit)', decimal)
  .addHelpText('after', '\nExample:\n  structured-ffn generate runs/latest/checkpoint --prompt "My fellow Americans,"')
  .action(async (checkpoint, options) => (await import('./generate_command.js')).generateCommand(checkpoint, options));

program
  .command('export')
  .description('Write a checkpoint in a format that other programs run.')
  .argument('<checkpoint>', 'folder, or .safetensors file with its config.json', path)
  .addOption(
    new Option('--format <name>', 'ONNX, or the layout of Hugging Face transformers')
      .choices(['onnx', 'hf'])
      .makeOptionMandatory(),
  )
  .requiredOption('--out <folder>', 'folder for the files', path)
  .addOption(
    new Option(
      '--weights <how>',
      'keep factors, or merge them into dense matrices (default: factored; hf: merged)',
    ).choices(['factored', 'merged']),
  )
  .option('--cache', 'onnx: keys and values of earlier tokens as inputs and outputs (default)')
  .option('--no-cache', 'onnx: whole sequences only; for scoring, not for generation')
  .option('--force', 'replace files with the same names in a folder that is not empty')
  .addHelpText(
    'after',
    `
Examples:
  structured-ffn export runs/latest/checkpoint --format onnx --out exported
  structured-ffn export runs/latest/checkpoint --format hf --out exported-hf`,
  )
  .action(async (checkpoint, options) => (await import('./export_command.js')).exportCommand(checkpoint, options));

program
  .command('convert')
  .description('Write a checkpoint with smaller weights, for inference.')
  .argument('<checkpoint>', 'folder, or .safetensors file with its config.json', path)
  .addOption(
    new Option('--dtype <name>', 'type of the matrices').choices(['float32', 'bfloat16', 'int8']).makeOptionMandatory(),
  )
  .requiredOption('--out <folder>', 'folder of the new checkpoint; it must not exist', path)
  .addHelpText('after', '\nExample:\n  structured-ffn convert runs/latest/checkpoint --dtype int8 --out small')
  .action(async (checkpoint, options) => (await import('./convert_command.js')).convertCommand(checkpoint, options));

program
  .command('tune')
  .description(
    'Measure when merged layers are faster than factors on this machine, for generate --dispatch auto. With --device cuda, ' +
      'first measure the costs by which kernels for matrix products are chosen.',
  )
  .argument('[checkpoint]', 'the model whose layers are measured; not needed with --device cuda', path)
  .option('--device <name>', 'device to measure: cpu, cuda, cuda:N', deviceName, 'cpu')
  .addOption(
    new Option('--dtype <name>', "type of the weights (default: the checkpoint's)").choices([
      'float32',
      'bfloat16',
      'int8',
    ]),
  )
  .addOption(activations())
  .option('--table <file>', 'file for the measurements (default: in the cache folder of the user)', path)
  .option('--costs <file>', 'file for the costs of matrix products (default: also in the cache folder)', path)
  .action(async (checkpoint, options) => (await import('./tune_command.js')).tuneCommand(checkpoint, options));

program
  .command('info')
  .description('Show what this machine supports, and the cost of a feedforward network in each structure.')
  .option('--d-model <n>', 'width', positiveInteger, 768)
  .option('--d-ff <n>', 'hidden width (default: 4 times the width)', positiveInteger)
  .option('--ratio <part>', 'part of the dense parameters to keep', decimal, 0.32)
  .option('--json', 'print one JSON object')
  .action(async (options) => (await import('./info_command.js')).infoCommand(options));

program
  .command('build')
  .description('Compile the native binary for this machine (needs a C++20 compiler, Python 3 and make).')
  .action(async () => (await import('./build_command.js')).buildCommand());

program.parseAsync().catch((error: unknown) => fail(error, Boolean(program.opts().debug)));
