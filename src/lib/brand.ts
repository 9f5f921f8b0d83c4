declare const brand: unique symbol;

/** A string whose type shows that it was parsed. Only the `parse…` function of `Name` returns this type. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
