import { describe, expect, test } from "vitest";
import { leastPieceBytes, mostPieceBytes, nextBuffer, startPace } from "../../src/net/pieces.ts";

describe("buffer of a body's pieces", () => {
  test("it grows while pieces are full and fast, and is small again if one side is slow", () => {
    const fast = { sourceMs: 0, sinkMs: 0 };
    let buffer = new ArrayBuffer(leastPieceBytes);
    for (let piece = 0; piece < 3; piece += 1) buffer = nextBuffer(new Uint8Array(buffer), fast);
    expect(buffer.byteLength).toBe(mostPieceBytes);
    const part = new Uint8Array(buffer, 0, 1);
    expect(nextBuffer(part, fast)).toBe(buffer);
    for (const slow of [{ sourceMs: 1_001 }, { sinkMs: 1_001 }]) {
      expect(nextBuffer(part, { ...fast, ...slow }).byteLength).toBe(leastPieceBytes);
    }
  });
});

describe("pace of a body's pieces", () => {
  test("after many pieces of one byte, reads wait for 512 bytes", () => {
    const leastBytes = startPace();
    const waits = Array.from({ length: 200 }, () => leastBytes(1));
    expect(waits.indexOf(512)).toBeGreaterThan(32);
    expect(waits.at(-1)).toBe(512);
  });

  test("large pieces are never waited for, however many there are", () => {
    const leastBytes = startPace();
    expect(Array.from({ length: 10_000 }, () => leastBytes(1_400)).every((bytes) => bytes === 1)).toBe(true);
  });
});
