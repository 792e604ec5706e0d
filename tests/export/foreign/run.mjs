// Run one ONNX file with onnxruntime-web in Node, one image at a time.
//
//     node run.mjs MODULES ARTIFACT IMAGES.bin DTYPE "1,HEIGHT,WIDTH,CHANNELS" OUTPUT.bin
//
// MODULES is the folder with node_modules. OUTPUT.bin gets the float32 outputs of each image in turn.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [modules, artifact, images, dtype, sides, output] = process.argv.slice(2);
const ort = createRequire(join(modules, "package.json"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const shape = sides.split(",").map(Number);
const length = shape.reduce((a, b) => a * b, 1);
const bytes = readFileSync(images);
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const pixels = dtype === "float32" ? new Float32Array(buffer) : new Uint8Array(buffer);

const session = await ort.InferenceSession.create(readFileSync(artifact), { executionProviders: ["wasm"] });
const results = [];
for (let start = 0; start < pixels.length; start += length) {
  const image = new ort.Tensor(dtype, pixels.slice(start, start + length), shape);
  const outputs = await session.run({ [session.inputNames[0]]: image });
  results.push(Float32Array.from(outputs[session.outputNames[0]].data));
}
writeFileSync(output, Buffer.concat(results.map((values) => Buffer.from(values.buffer))));
