declare const brand: unique symbol;

/**
 * A value whose type shows that it was parsed or checked. Only the functions that do this return the type: only `parseTag` returns a `Tag`, for
 * example.
 */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
