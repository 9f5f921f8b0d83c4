declare const brand: unique symbol;

/** A value whose type shows that it was parsed or checked. For example, only `parseTag` makes a `Tag`. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
