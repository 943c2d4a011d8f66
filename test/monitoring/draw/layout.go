package main

// The sizes of Grafana's grid in pixels.
const (
	columns    = 24
	cellHeight = 30
	gap        = 8
)

// box is a rectangle in pixels.
type box struct{ X, Y, W, H int }

// place returns where a panel is on a page of that width.
func place(p gridPos, width int) box {
	cell := float64(width-gap*(columns-1)) / columns
	x := float64(p.X) * (cell + gap)
	w := float64(p.W)*(cell+gap) - gap
	return box{int(x), p.Y * (cellHeight + gap), int(w), p.H*(cellHeight+gap) - gap}
}

// pageHeight returns the height of a page with these panels.
func pageHeight(panels []panel) int {
	height := 0
	for _, p := range panels {
		b := place(p.GridPos, columns)
		height = max(height, b.Y+b.H)
	}
	return height
}

// legendRows returns how many lines a legend needs: its entries are beside each other while they fit.
func legendRows(names []string, width int) int {
	const marker, letter, between = 20, 6.4, 10
	rows, used := 1, 0.0
	for _, name := range names {
		w := marker + letter*float64(len([]rune(name))) + between
		if used > 0 && used+w > float64(width) {
			rows++
			used = 0
		}
		used += w
	}
	return rows
}
