import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";

/** What a topology's assignments are read by; a Map is one. */
export type AssignmentsView = Iterable<readonly [Prefix, PodId]> & {
  readonly size: number;
  get(prefix: Prefix): PodId | undefined;
};

/** Finding every slot anew is what growing costs: seldom. */
const slotGrowth = 4;
const recordGrowth = 2;
/** Of a record, before its name. */
const headBytes = 3;
/** Names whose slots are fetched together. */
const batchNames = 256;

/**
 * Prefix → Pod, for millions: names stand as bytes in one array, in the order they came, and are found by an open-addressed table
 * (Knuth, TAOCP 3, §6.4). In a Map each of a million strings costs several times what one of a thousand does, for the collector
 * moves them all; and a name that stands alone in memory, apart from its length and its Pod, is waited for several times.
 */
export class Assignments implements AssignmentsView {
  #size = 0;
  /** One behind the other: a name's length, its Pod's index in two bytes, the name. None begins at 0. */
  #records = new Uint8Array(1 << 14);
  #recordsEnd = 1;
  /** Pairs: where a name's record begins, or 0 where the slot is free, and the name's hash. At least half of them are free. */
  #slots = new Uint32Array(1 << 12);
  /** Of the batch that is being added: the hashes, and what was in their slots. */
  readonly #hashes = new Uint32Array(batchNames);
  readonly #fetched = new Uint32Array(batchNames);
  readonly #podIds: PodId[] = [];
  readonly #podIndexes = new Map<PodId, number>();

  get size(): number {
    return this.#size;
  }

  /** False, and nothing changed, if the prefix is assigned already. */
  add(prefix: Prefix, pod: PodId): boolean {
    return this.#addHashed(prefix, pod, hashOf(prefix));
  }

  /** Gives the places of those that were assigned already, of which nothing changed. */
  addAll(entries: readonly (readonly [Prefix, PodId])[]): readonly number[] {
    const refused: number[] = [];
    for (let from = 0; from < entries.length; from += batchNames) {
      const batch = entries.slice(from, from + batchNames);
      this.#fetch(batch);
      for (const [at, [prefix, pod]] of batch.entries()) {
        if (!this.#addHashed(prefix, pod, this.#hashes[at] ?? 0)) refused.push(from + at);
      }
    }
    return refused;
  }

  /** One by one each name would wait for the memory of its slot; here all of them wait at once. */
  #fetch(batch: readonly (readonly [Prefix, PodId])[]): void {
    for (const [at, [prefix]] of batch.entries()) this.#hashes[at] = hashOf(prefix);
    const mask = this.#slots.length - 1;
    for (let at = 0; at < batch.length; at += 1) {
      this.#fetched[at] = this.#slots[((this.#hashes[at] ?? 0) << 1) & mask] ?? 0;
    }
  }

  #addHashed(prefix: Prefix, pod: PodId, hash: number): boolean {
    if (this.#size * 4 === this.#slots.length) this.#growSlots();
    const slot = this.#slotOf(prefix, hash);
    if (this.#slots[slot] !== 0) return false;
    this.#slots[slot] = this.#recordsEnd;
    this.#slots[slot + 1] = hash;
    this.#append(prefix, this.#podIndexOf(pod));
    this.#size += 1;
    return true;
  }

  get(prefix: string): PodId | undefined {
    const begin = this.#slots[this.#slotOf(prefix, hashOf(prefix))] ?? 0;
    return begin === 0 ? undefined : this.#podAt(begin);
  }

  *[Symbol.iterator](): Generator<readonly [Prefix, PodId]> {
    const decoder = new TextDecoder();
    for (let begin = 1; begin < this.#recordsEnd; ) {
      const end = begin + headBytes + (this.#records[begin] ?? 0);
      const name = decoder.decode(this.#records.subarray(begin + headBytes, end));
      yield [name as Prefix, this.#podAt(begin)];
      begin = end;
    }
  }

  /** Where the prefix is, or the free slot where it would be. */
  #slotOf(prefix: string, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = (hash << 1) & mask; ; slot = (slot + 2) & mask) {
      const begin = this.#slots[slot] ?? 0;
      if (begin === 0 || (this.#slots[slot + 1] === hash && this.#isAt(begin, prefix))) return slot;
    }
  }

  #isAt(begin: number, prefix: string): boolean {
    if (this.#records[begin] !== prefix.length) return false;
    const name = begin + headBytes;
    for (let at = 0; at < prefix.length; at += 1) if (this.#records[name + at] !== prefix.charCodeAt(at)) return false;
    return true;
  }

  #podAt(begin: number): PodId {
    const index = ((this.#records[begin + 1] ?? 0) << 8) | (this.#records[begin + 2] ?? 0);
    return this.#podIds[index] as PodId;
  }

  /** A prefix is ASCII, of at most 255 characters. */
  #append(prefix: Prefix, podIndex: number): void {
    const name = this.#recordsEnd + headBytes;
    const end = name + prefix.length;
    if (end > this.#records.length) {
      const longer = new Uint8Array(this.#records.length * recordGrowth);
      longer.set(this.#records);
      this.#records = longer;
    }
    this.#records[this.#recordsEnd] = prefix.length;
    this.#records[this.#recordsEnd + 1] = podIndex >>> 8;
    this.#records[this.#recordsEnd + 2] = podIndex;
    for (let at = 0; at < prefix.length; at += 1) this.#records[name + at] = prefix.charCodeAt(at);
    this.#recordsEnd = end;
  }

  #podIndexOf(pod: PodId): number {
    const known = this.#podIndexes.get(pod);
    if (known !== undefined) return known;
    this.#podIndexes.set(pod, this.#podIds.length);
    return this.#podIds.push(pod) - 1;
  }

  #growSlots(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * slotGrowth);
    const mask = this.#slots.length - 1;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at] === 0) continue;
      let slot = ((old[at + 1] ?? 0) << 1) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 2) & mask;
      this.#slots[slot] = old[at] ?? 0;
      this.#slots[slot + 1] = old[at + 1] ?? 0;
    }
  }
}

/** FNV-1a of 32 bits, its high bits folded into the low ones, which choose the slot. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
