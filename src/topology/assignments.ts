import type { PodId } from "../directory/pod-id.ts";
import type { Prefix } from "../oci/repository-name.ts";
import { NameTable } from "./name-table.ts";

type Assignment = readonly [Prefix, PodId];

/** Assignments, ticked off one by one. */
type Checklist = {
  /** The Pod of each prefix, as often as it is asked for. */
  readonly take: (prefixes: readonly string[]) => readonly (PodId | undefined)[];
  /** In their order, those that nobody took. */
  readonly rest: () => Iterable<Assignment>;
};

/** Prefix → Pod, of a topology with millions of them. */
export class Assignments implements Iterable<Assignment> {
  readonly #table = new NameTable();
  readonly #podIds: PodId[] = [];
  readonly #podIndexes = new Map<PodId, number>();

  get size(): number {
    return this.#table.size;
  }

  /** Room for those of a file of so many bytes. */
  reserve(bytes: number): void {
    this.#table.reserve(bytes);
  }

  /** False, and nothing changed, if the prefix is assigned already. */
  add(prefix: Prefix, pod: PodId): boolean {
    return this.#table.add(prefix, this.#podIndexOf(pod));
  }

  /** Each prefix to the Pod at its own index. Gives the indexes of those that were assigned already, of which nothing changed. */
  addAll(prefixes: readonly Prefix[], pods: readonly PodId[]): readonly number[] {
    return this.#table.addAll(
      prefixes,
      pods.map((pod) => this.#podIndexOf(pod)),
    );
  }

  get(prefix: string): PodId | undefined {
    const place = this.#table.placeOf(prefix);
    return place === undefined ? undefined : this.#podAt(place);
  }

  /** Of what is here now: nothing may be added while it is in use. */
  checklist(): Checklist {
    const taken = new Uint8Array(this.#table.places);
    let left = this.size;
    return {
      take: (prefixes) =>
        this.#table.placesOf(prefixes).map((place) => {
          if (place === undefined) return undefined;
          if (taken[place] === 0) left -= 1;
          taken[place] = 1;
          return this.#podAt(place);
        }),
      rest: () => (left === 0 ? [] : this.#without(taken)),
    };
  }

  *[Symbol.iterator](): Generator<Assignment> {
    for (const [name, index] of this.#table) yield [name as Prefix, this.#podIds[index] as PodId];
  }

  *#without(taken: Uint8Array): Generator<Assignment> {
    for (const assignment of this) if (taken[this.#table.placeOf(assignment[0]) ?? 0] === 0) yield assignment;
  }

  #podAt(place: number): PodId {
    return this.#podIds[this.#table.valueAt(place)] as PodId;
  }

  #podIndexOf(pod: PodId): number {
    const known = this.#podIndexes.get(pod);
    if (known !== undefined) return known;
    this.#podIndexes.set(pod, this.#podIds.length);
    return this.#podIds.push(pod) - 1;
  }
}
