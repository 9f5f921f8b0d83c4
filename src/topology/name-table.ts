/** Finding every slot anew is what growing costs: seldom. */
const slotGrowth = 4;
const recordsGrowth = 2;
/** Of a record, before its name. */
const headBytes = 3;
/** A name has two slots, which are four numbers, and a line of a file seldom has fewer than 32 bytes. Where it has, slots grow. */
const fileBytesPerNumber = 8;
/** Names whose slots are fetched together. */
const batchNames = 256;

/**
 * Name → number for millions of names: they stand as bytes in one array, in the order they came, and are found by an
 * open-addressed table (Knuth, TAOCP 3, §6.4). In a Map each of a million strings costs several times what one of a thousand does,
 * for the collector moves them all; and a name that stands alone in memory, apart from its length and its number, is waited for
 * several times.
 *
 * Names are ASCII, of at most 255 characters; numbers are below 65,536.
 */
export class NameTable implements Iterable<readonly [name: string, value: number]> {
  #size = 0;
  /** One behind the other: a name's length, its number in two bytes, the name. None begins at 0. */
  #records = new Uint8Array(1 << 14);
  #recordsEnd = 1;
  /** Pairs: where a name's record begins, or 0 where the slot is free, and the name's hash. At least half of them are free. */
  #slots = new Uint32Array(1 << 12);
  /** Of the batch that is being added: the hashes, and what was in their slots. */
  readonly #hashes = new Uint32Array(batchNames);
  readonly #fetched = new Uint32Array(batchNames);

  get size(): number {
    return this.#size;
  }

  /** As many places as {@link placeOf} may give. */
  get places(): number {
    return this.#slots.length / 2;
  }

  /** Room for names that take so many bytes in a file: growing would copy them again and again. */
  reserve(bytes: number): void {
    this.#growRecords(this.#recordsEnd + bytes);
    this.#growSlots(bytes / fileBytesPerNumber);
  }

  /** False, and nothing changed, if the name is there already. */
  add(name: string, value: number): boolean {
    return this.#addHashed(name, value, hashOf(name));
  }

  /** Each name with the number at its own index. Gives the indexes of those that were there already, of which nothing changed. */
  addAll(names: readonly string[], values: readonly number[]): readonly number[] {
    const refused: number[] = [];
    for (let from = 0; from < names.length; from += batchNames) {
      const end = Math.min(from + batchNames, names.length);
      this.#touch(names, from, end);
      for (let index = from; index < end; index += 1) {
        const added = this.#addHashed(names[index] ?? "", values[index] ?? 0, this.#hashes[index - from] ?? 0);
        if (!added) refused.push(index);
      }
    }
    return refused;
  }

  /** A number below {@link places} that is the name's own until the next one is added. */
  placeOf(name: string): number | undefined {
    const slot = this.#slotOf(name, hashOf(name));
    return this.#slots[slot] === 0 ? undefined : slot / 2;
  }

  /** {@link placeOf} many. */
  placesOf(names: readonly string[]): readonly (number | undefined)[] {
    const places: (number | undefined)[] = [];
    for (let from = 0; from < names.length; from += batchNames) {
      const end = Math.min(from + batchNames, names.length);
      this.#touch(names, from, end);
      for (let at = 0; at < end - from; at += 1) this.#fetched[at] = this.#records[this.#fetched[at] ?? 0] ?? 0;
      for (let index = from; index < end; index += 1) {
        const slot = this.#slotOf(names[index] ?? "", this.#hashes[index - from] ?? 0);
        places.push(this.#slots[slot] === 0 ? undefined : slot / 2);
      }
    }
    return places;
  }

  valueAt(place: number): number {
    return this.#valueOf(this.#slots[place * 2] ?? 0);
  }

  *[Symbol.iterator](): Generator<readonly [name: string, value: number]> {
    const decoder = new TextDecoder();
    for (let begin = 1; begin < this.#recordsEnd; ) {
      const end = begin + headBytes + (this.#records[begin] ?? 0);
      yield [decoder.decode(this.#records.subarray(begin + headBytes, end)), this.#valueOf(begin)];
      begin = end;
    }
  }

  /** One by one each name would wait for the memory of its slot; here all of them wait at once. */
  #touch(names: readonly string[], from: number, end: number): void {
    for (let index = from; index < end; index += 1) this.#hashes[index - from] = hashOf(names[index] ?? "");
    const mask = this.#slots.length - 1;
    for (let at = 0; at < end - from; at += 1) {
      this.#fetched[at] = this.#slots[((this.#hashes[at] ?? 0) << 1) & mask] ?? 0;
    }
  }

  #addHashed(name: string, value: number, hash: number): boolean {
    if (this.#size * 4 === this.#slots.length) this.#growSlots(this.#slots.length * slotGrowth);
    const slot = this.#slotOf(name, hash);
    if (this.#slots[slot] !== 0) return false;
    this.#slots[slot] = this.#recordsEnd;
    this.#slots[slot + 1] = hash;
    this.#append(name, value);
    this.#size += 1;
    return true;
  }

  /** Where the name is, or the free slot where it would be. */
  #slotOf(name: string, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = (hash << 1) & mask; ; slot = (slot + 2) & mask) {
      const begin = this.#slots[slot] ?? 0;
      if (begin === 0 || (this.#slots[slot + 1] === hash && this.#isAt(begin, name))) return slot;
    }
  }

  #isAt(begin: number, name: string): boolean {
    if (this.#records[begin] !== name.length) return false;
    const text = begin + headBytes;
    for (let at = 0; at < name.length; at += 1) if (this.#records[text + at] !== name.charCodeAt(at)) return false;
    return true;
  }

  #valueOf(begin: number): number {
    return ((this.#records[begin + 1] ?? 0) << 8) | (this.#records[begin + 2] ?? 0);
  }

  #append(name: string, value: number): void {
    const begin = this.#recordsEnd;
    const end = begin + headBytes + name.length;
    this.#growRecords(end);
    this.#records[begin] = name.length;
    this.#records[begin + 1] = value >>> 8;
    this.#records[begin + 2] = value;
    for (let at = 0; at < name.length; at += 1) this.#records[begin + headBytes + at] = name.charCodeAt(at);
    this.#recordsEnd = end;
  }

  #growRecords(minLength: number): void {
    let length = this.#records.length;
    if (minLength <= length) return;
    while (length < minLength) length *= recordsGrowth;
    const longer = new Uint8Array(length);
    longer.set(this.#records);
    this.#records = longer;
  }

  /** To a power of 2, which {@link #slotOf} asks for. */
  #growSlots(minLength: number): void {
    const old = this.#slots;
    let length = old.length;
    if (minLength <= length) return;
    while (length < minLength) length *= slotGrowth;
    this.#slots = new Uint32Array(length);
    const mask = length - 1;
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
