declare const brand: unique symbol;

/** A string whose type says that it was parsed: only the `parse…` function of `Name` makes one. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
