// Saves checkpoints that hold one number, FOLDER FIRST COUNT; tells each one when it is saved.
const { join } = require('node:path');
require('../../scripts/register_ts.cjs');
const { saveNumber } = require(join(__dirname, 'checkpoints.ts'));
const { writeSync } = require('node:fs');

const [folder, first, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
for (let value = first; value < first + count; value++) {
  saveNumber(folder, value);
  writeSync(1, `${value}\n`);
}
