import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";

/** What a topology's assignments are read by; a Map is one. */
export type AssignmentsView = Iterable<readonly [Prefix, PodId]> & {
  readonly size: number;
  get(prefix: Prefix): PodId | undefined;
};

/** Finding every slot anew is what growing costs: seldom. */
const growth = 4;

/**
 * Prefix → Pod, for millions: names stand as bytes in one array, in the order they came, and are found by an open-addressed table of
 * their indexes (Knuth, TAOCP 3, §6.4). In a Map each of a million strings costs several times what one of a thousand does, for
 * the collector moves them all.
 */
export class Assignments implements AssignmentsView {
  #size = 0;
  #usedBytes = 0;
  /** A prefix is ASCII. */
  #bytes = new Uint8Array(1 << 14);
  /** Where each name ends, behind the end of the one before it. */
  #ends = new Uint32Array(1 << 10);
  #hashes = new Uint32Array(1 << 10);
  #pods = new Uint16Array(1 << 10);
  /** Twice as long as the three above, so that half of it is free: index + 1, or 0 where it is free. */
  #slots = new Uint32Array(1 << 11);
  readonly #podIds: PodId[] = [];
  readonly #podIndexes = new Map<PodId, number>();

  get size(): number {
    return this.#size;
  }

  /** False, and nothing changed, if the prefix is assigned already. */
  add(prefix: Prefix, pod: PodId): boolean {
    const hash = hashOf(prefix);
    const slot = this.#slotOf(prefix, hash);
    if (this.#slots[slot] !== 0) return false;
    if (this.#size === this.#ends.length) this.#grow();
    while (this.#usedBytes + prefix.length > this.#bytes.length) this.#bytes = longer(this.#bytes, 2);
    for (let at = 0; at < prefix.length; at += 1) this.#bytes[this.#usedBytes + at] = prefix.charCodeAt(at);
    this.#usedBytes += prefix.length;
    this.#ends[this.#size] = this.#usedBytes;
    this.#hashes[this.#size] = hash;
    this.#pods[this.#size] = this.#podIndexOf(pod);
    this.#size += 1;
    this.#slots[this.#slotOf(prefix, hash)] = this.#size;
    return true;
  }

  get(prefix: string): PodId | undefined {
    const found = this.#slots[this.#slotOf(prefix, hashOf(prefix))] ?? 0;
    return found === 0 ? undefined : this.#podIds[this.#pods[found - 1] ?? 0];
  }

  *[Symbol.iterator](): Generator<readonly [Prefix, PodId]> {
    const decoder = new TextDecoder();
    for (let index = 0; index < this.#size; index += 1) {
      const name = decoder.decode(this.#bytes.subarray(this.#startOf(index), this.#ends[index]));
      yield [name as Prefix, this.#podIds[this.#pods[index] ?? 0] as PodId];
    }
  }

  /** Where the prefix is, or the free slot where it would be. */
  #slotOf(prefix: string, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const found = this.#slots[slot] ?? 0;
      if (found === 0 || (this.#hashes[found - 1] === hash && this.#isAt(found - 1, prefix))) return slot;
    }
  }

  #isAt(index: number, prefix: string): boolean {
    const start = this.#startOf(index);
    if ((this.#ends[index] ?? 0) - start !== prefix.length) return false;
    for (let at = 0; at < prefix.length; at += 1) if (this.#bytes[start + at] !== prefix.charCodeAt(at)) return false;
    return true;
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : (this.#ends[index - 1] ?? 0);
  }

  #podIndexOf(pod: PodId): number {
    const known = this.#podIndexes.get(pod);
    if (known !== undefined) return known;
    this.#podIndexes.set(pod, this.#podIds.length);
    return this.#podIds.push(pod) - 1;
  }

  #grow(): void {
    this.#ends = longer(this.#ends, growth);
    this.#hashes = longer(this.#hashes, growth);
    this.#pods = longer(this.#pods, growth);
    this.#slots = new Uint32Array(this.#slots.length * growth);
    const mask = this.#slots.length - 1;
    for (let index = 0; index < this.#size; index += 1) {
      let slot = (this.#hashes[index] ?? 0) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = index + 1;
    }
  }
}

/** FNV-1a of 32 bits, its high bits folded into the low ones, which choose the slot. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function longer<T extends Uint8Array | Uint16Array | Uint32Array>(array: T, times: number): T {
  const copy = new (array.constructor as new (length: number) => T)(array.length * times);
  copy.set(array);
  return copy;
}
