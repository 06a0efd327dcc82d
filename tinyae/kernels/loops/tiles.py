"""The inner loops of a convolution: sums that stay in registers until they are complete.

A *window* is what one output of a convolution sees of its input. In an image (rows, columns, channels) the channels of
neighbouring pixels follow each other, so a window of 3 x 3 pixels is three stretches of 3 C numbers, one below the
other: no patches need be copied together. A window is given by where it begins in an array, how far the next stretch
is ``below``, how many ``taps`` (stretches) there are, and their length K.

Three loops do all the arithmetic, two registers of columns (V = 2) or one at a time:

* ``window_tile``: several neighbouring windows times a matrix: the forward pass and the data gradient;
* ``gradient_tile``: all windows of an image times the output's gradients: the weight gradient;
* ``dot_tile``: several windows times one column, for a convolution with few outputs. It would leave most of a
  register empty, so here the register goes along the window, and its places are added up in the end.

As in ``products.py`` a number that is loaded must be used several times, and a processor has 16 or 32 registers: hence
7 windows times 2 registers, or 8 rows of a gradient times 2. How many it is must be known when the code is made, for each
register has its name in it; so each function here makes the loop for given P (or R) and V. Sizes of images and numbers of
channels are ordinary arguments: with everything of importance in registers, knowing them earlier gains nothing.

As in ``vectors.py`` each loop stands here twice: in NumPy, which is what it means, and as the instructions it becomes.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .vectors import REGISTER, load_below
from .writing import Writer, flat

UNROLLED = 2  # numbers of a window for each turn of the loop: fewer jumps and additions of addresses


def window_tile(P, V):
    """The loop for P neighbouring windows and V registers of columns."""

    def tile(x, at, below, step, taps, K, panel, start, bias, first, y, to, apart):
        """y[to + p apart + q] <- bias[first + q] + sum over s, k of x[at + s below + p step + k] panel[start, s K + k, q]

        for the P windows p, which begin ``step`` numbers apart, and the columns q of V registers. All arrays are
        flat; the panel is (taps K, V registers) from ``start`` on.
        """
        columns = V * REGISTER // x.itemsize
        matrix = panel[start : start + taps * K * columns].reshape(taps * K, columns)
        for p in range(P):
            stretches = [x[at + s * below + p * step :][:K] for s in range(taps)]
            y[to + p * apart :][:columns] = bias[first : first + columns] + np.concatenate(stretches) @ matrix

    @intrinsic
    def instructions(typing, x, at, below, step, taps, K, panel, start, bias, first, y, to, apart):
        def code(context, builder, signature, values):
            x_at, at, below, step, taps, K, panel_at, start, bias_at, first, y_at, to, apart = flat(
                context, builder, signature, values
            )
            w = Writer(context, builder, x.dtype)
            begin, rows = w.move(x_at, at), w.move(panel_at, start)
            sums = [w.load(w.move(bias_at, first), v * w.lanes) for v in range(V)] * P

            def one(window, row, k, sums):
                """All windows times row number k of the panel from here."""
                weights = [w.load(row, (k * V + v) * w.lanes) for v in range(V)]
                found = []
                for p in range(P):
                    number = w.number(window[p], k)
                    found += [w.multiply_add(number, weights[v], sums[p * V + v]) for v in range(V)]
                return found

            def stretch(s, state):
                row, *sums = state
                left = w.move(begin, builder.mul(s, below))
                window = [w.move(left, builder.mul(w.whole(p), step)) for p in range(P)]
                many = builder.and_(K, w.whole(-UNROLLED))

                def turn(unrolled):
                    def body(k, state):
                        row, *sums = state
                        here = [w.move(pointer, k) for pointer in window]
                        for u in range(unrolled):
                            sums = one(here, row, u, sums)
                        return [w.move(row, w.whole(unrolled * V * w.lanes)), *sums]

                    return body

                state = w.repeat(w.whole(0), many, UNROLLED, [row, *sums], turn(UNROLLED))
                return w.repeat(many, K, 1, state, turn(1))

            _, *sums = w.repeat(w.whole(0), taps, 1, [rows, *sums], stretch)
            target = w.move(y_at, to)
            for p in range(P):
                row = w.move(target, builder.mul(w.whole(p), apart))
                for v in range(V):
                    w.store(sums[p * V + v], row, v * w.lanes)
            return context.get_dummy_value()

        n = types.intp
        return types.none(x, n, n, n, n, n, panel, n, bias, n, y, n, n), code

    @overload(tile)
    def _(x, at, below, step, taps, K, panel, start, bias, first, y, to, apart):
        def run(x, at, below, step, taps, K, panel, start, bias, first, y, to, apart):
            return instructions(x, at, below, step, taps, K, panel, start, bias, first, y, to, apart)

        return run

    return tile


def gradient_tile(R, V):
    """The loop for R numbers of a window and V registers of gradients."""

    def tile(x, at, below, step, g, begin, g_below, g_step, rows, columns, sums, to, apart):
        """sums[to + r apart + q] += sum over i, j of x[at + i below + j step + r] g[begin + i g_below + j g_step + q]

        for R neighbouring numbers r and the places q of V registers. i goes over ``rows``, j over ``columns``. All
        arrays are flat.
        """
        lanes = V * REGISTER // x.itemsize
        for i in range(rows):
            for j in range(columns):
                gradient = g[begin + i * g_below + j * g_step :][:lanes]
                for r in range(R):
                    sums[to + r * apart :][:lanes] += x[at + i * below + j * step + r] * gradient

    @intrinsic
    def instructions(typing, x, at, below, step, g, begin, g_below, g_step, rows, columns, sums, to, apart):
        def code(context, builder, signature, values):
            x_at, at, below, step, g_at, begin, g_below, g_step, rows, columns, sums_at, to, apart = flat(
                context, builder, signature, values
            )
            w = Writer(context, builder, x.dtype)
            x_begin, g_begin, target = w.move(x_at, at), w.move(g_at, begin), w.move(sums_at, to)
            places = [(w.move(target, builder.mul(w.whole(r), apart)), v * w.lanes) for r in range(R) for v in range(V)]

            def pixel(j, state):
                x_here, g_here, *found = state
                gradients = [w.load(g_here, v * w.lanes) for v in range(V)]
                for r in range(R):
                    number = w.number(x_here, r)
                    for v in range(V):
                        found[r * V + v] = w.multiply_add(number, gradients[v], found[r * V + v])
                return [w.move(x_here, step), w.move(g_here, g_step), *found]

            def row(i, found):
                x_here = w.move(x_begin, builder.mul(i, below))
                g_here = w.move(g_begin, builder.mul(i, g_below))
                return w.repeat(w.whole(0), columns, 1, [x_here, g_here, *found], pixel)[2:]

            found = w.repeat(w.whole(0), rows, 1, [w.load(*place) for place in places], row)
            for vector, place in zip(found, places):
                w.store(vector, *place)
            return context.get_dummy_value()

        n = types.intp
        return types.none(x, n, n, n, g, n, n, n, n, n, sums, n, n), code

    @overload(tile)
    def _(x, at, below, step, g, begin, g_below, g_step, rows, columns, sums, to, apart):
        def run(x, at, below, step, g, begin, g_below, g_step, rows, columns, sums, to, apart):
            return instructions(x, at, below, step, g, begin, g_below, g_step, rows, columns, sums, to, apart)

        return run

    return tile


def dot_tile(P):
    """The loop for P neighbouring windows and one column."""

    def tile(x, at, below, step, taps, K, column, start, bias, y, to, apart):
        """y[to + p apart] <- bias + sum over s, k of x[at + s below + p step + k] column[start + s K' + k]

        where K' is K, rounded up to whole registers: so long is a stretch of the column.
        """
        lanes = REGISTER // x.itemsize
        length = (K + lanes - 1) // lanes * lanes
        for p in range(P):
            y[to + p * apart] = bias + sum(
                x[at + s * below + p * step :][:K] @ column[start + s * length :][:K] for s in range(taps)
            )

    @intrinsic
    def instructions(typing, x, at, below, step, taps, K, column, start, bias, y, to, apart):
        def code(context, builder, signature, values):
            x_at, at, below, step, taps, K, column_at, start, bias, y_at, to, apart = flat(
                context, builder, signature, values
            )
            w = Writer(context, builder, x.dtype)
            begin, weights = w.move(x_at, at), w.move(column_at, start)

            def stretch(s, state):
                weight, *sums = state
                left = w.move(begin, builder.mul(s, below))
                window = [w.move(left, builder.mul(w.whole(p), step)) for p in range(P)]
                whole = builder.and_(K, w.whole(-w.lanes))

                def turn(load):
                    def body(k, state):
                        weight, *sums = state
                        numbers = w.load(weight, 0)
                        sums = [w.multiply_add(load(w.move(window[p], k), k), numbers, sums[p]) for p in range(P)]
                        return [w.move(weight, w.whole(w.lanes)), *sums]

                    return body

                state = w.repeat(w.whole(0), whole, w.lanes, [weight, *sums], turn(lambda place, k: w.load(place, 0)))
                some = turn(lambda place, k: load_below(builder, w.as_vector(place), builder.sub(K, k)))
                return w.repeat(whole, K, w.lanes, state, some)

            state = [weights, *[ir.Constant(w.vector, None)] * P]
            _, *sums = w.repeat(w.whole(0), taps, 1, state, stretch)
            target = w.move(y_at, to)
            for p in range(P):
                builder.store(w.added_up(sums[p], bias), w.move(target, builder.mul(w.whole(p), apart)))
            return context.get_dummy_value()

        n = types.intp
        return types.none(x, n, n, n, n, n, column, n, x.dtype, y, n, n), code

    @overload(tile)
    def _(x, at, below, step, taps, K, column, start, bias, y, to, apart):
        def run(x, at, below, step, taps, K, column, start, bias, y, to, apart):
            return instructions(x, at, below, step, taps, K, column, start, bias, y, to, apart)

        return run

    return tile


def largest_of_window(z, at, below, step, rows, columns, place, across, channels, y, winner, to):
    """y[to + c] <- the largest z[at + i below + j step + c], and where it was: winner <- place + i across + j, a byte.

    For all channels c; i goes over ``rows``, j over ``columns``. NaN is the largest of all; of equal ones the first wins.
    """
    corner = z[at:]
    views = [corner[i * below + j * step :][:channels] for i in range(rows) for j in range(columns)]
    found = np.stack(views).argmax(axis=0)  # NumPy, too, takes a NaN for the largest
    y[to : to + channels] = np.stack(views)[found, np.arange(channels)]
    winner[to : to + channels] = place + found // columns * across + found % columns


@intrinsic
def _largest_of_window(typing, z, at, below, step, rows, columns, place, across, channels, y, winner, to):
    def code(context, builder, signature, values):
        z_at, at, below, step, rows, columns, place, across, channels, y_at, winner_at, to = flat(
            context, builder, signature, values
        )
        w = Writer(context, builder, z.dtype)
        corner, best_at, won_at = w.move(z_at, at), w.move(y_at, to), w.move(winner_at, to)

        def block(c, state):
            left = builder.sub(channels, c)

            def row(i, state):
                number = builder.add(place, builder.mul(i, across))

                def column(j, state):
                    best, won = state
                    here = w.move(corner, builder.add(c, builder.add(builder.mul(i, below), builder.mul(j, step))))
                    found = load_below(builder, w.as_vector(here), left)
                    larger = builder.fcmp_unordered(">", found, best)  # or one of them is NaN
                    taken = builder.and_(larger, builder.fcmp_ordered("ord", best, best))
                    mine = w.in_every_place(w.as_byte(builder.add(number, j)))
                    return [builder.select(taken, found, best), builder.select(taken, mine, won)]

                return w.repeat(w.whole(0), columns, 1, state, column)

            least = ir.Constant(w.vector, [ir.Constant(w.vector.element, float("-inf"))] * w.lanes)
            # what is -inf everywhere has its place at the first
            best, won = w.repeat(w.whole(0), rows, 1, [least, w.in_every_place(w.as_byte(place))], row)
            w.store_below(best, w.move(best_at, c), left)
            w.store_below(won, w.move(won_at, c), left)
            return []

        w.repeat(w.whole(0), channels, w.lanes, [], block)
        return context.get_dummy_value()

    n = types.intp
    return types.none(z, n, n, n, n, n, n, n, n, y, winner, n), code


@overload(largest_of_window)
def _(z, at, below, step, rows, columns, place, across, channels, y, winner, to):
    def run(z, at, below, step, rows, columns, place, across, channels, y, winner, to):
        return _largest_of_window(z, at, below, step, rows, columns, place, across, channels, y, winner, to)

    return run


def give_to_winner(slopes, begin, winner, won, place, channels, g, at):
    """g[at + c] <- slopes[begin + c] where winner[won + c] is ``place``, else 0, for all channels c."""
    is_it = winner[won : won + channels] == place
    g[at : at + channels] = np.where(is_it, slopes[begin : begin + channels], 0)


@intrinsic
def _give_to_winner(typing, slopes, begin, winner, won, place, channels, g, at):
    def code(context, builder, signature, values):
        slopes_at, begin, winner_at, won, place, channels, g_at, at = flat(context, builder, signature, values)
        w = Writer(context, builder, slopes.dtype)
        source, who, target = w.move(slopes_at, begin), w.move(winner_at, won), w.move(g_at, at)
        number = w.in_every_place(w.as_byte(place))

        def block(c, state):
            left = builder.sub(channels, c)
            slope = load_below(builder, w.as_vector(w.move(source, c)), left)
            places = builder.bitcast(w.move(who, c), number.type.as_pointer())
            is_it = builder.icmp_unsigned("==", load_below(builder, places, left), number)
            w.store_below(builder.select(is_it, slope, ir.Constant(w.vector, None)), w.move(target, c), left)
            return []

        w.repeat(w.whole(0), channels, w.lanes, [], block)
        return context.get_dummy_value()

    n = types.intp
    return types.none(slopes, n, winner, n, n, n, g, n), code


@overload(give_to_winner)
def _(slopes, begin, winner, won, place, channels, g, at):
    def run(slopes, begin, winner, won, place, channels, g, at):
        return _give_to_winner(slopes, begin, winner, won, place, channels, g, at)

    return run
