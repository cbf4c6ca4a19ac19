// The page's script in one file, without anything that a browser would have to fetch: dist/replay.js.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("src/main.tsx")],
  outfile: here("dist/replay.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "ascii", // so that no bundled text is at the mercy of the page's encoding
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { "process.env.NODE_ENV": '"production"', "process.env.DEBUG": "undefined" },
  logLevel: "warning",
});
