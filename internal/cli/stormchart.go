package cli

import (
	"fmt"
	"io"
	"strings"

	"ottla/internal/storm"
)

const (
	chartColumns = 60
	chartRows    = 10
)

// printCurves draws the loads' entries into one chart, and the broker's memory into another.
func printCurves(w io.Writer, s *storm.Summary) {
	var entries, memory []storm.Series
	for _, series := range s.Series {
		switch {
		case series.Unit == "entries":
			entries = append(entries, series)
		case series.Unit == "bytes":
			memory = append(memory, series)
		}
	}
	drawChart(w, "producers that the broker has to remember", entries)
	for _, series := range s.Series {
		if series.Unit == "producers" && len(series.Points) > 0 { // what DescribeProducers said
			fmt.Fprintf(w, "%12s %s: %.0f\n", "", series.Name, series.Points[len(series.Points)-1][1])
		}
	}
	if len(memory) > 0 {
		drawChart(w, "memory of the broker", memory)
	}
}

// chartMarks are the curves' marks, the first on top.
const chartMarks = "o*+x"

// drawChart draws curves from zero up, over the same time.
func drawChart(w io.Writer, title string, curves []storm.Series) {
	seconds, most := 0.0, 0.0
	for _, c := range curves {
		for _, p := range c.Points {
			seconds, most = max(seconds, p[0]), max(most, p[1])
		}
	}
	if seconds == 0 || most == 0 || len(curves) > len(chartMarks) {
		return
	}
	var grid [chartRows][]byte
	for i := range grid {
		grid[i] = []byte(strings.Repeat(" ", chartColumns))
	}
	for i := len(curves) - 1; i >= 0; i-- {
		for column, value := range columnsOf(curves[i].Points, seconds) {
			row := min(chartRows-1, int(value/most*chartRows))
			grid[chartRows-1-row][column] = chartMarks[i]
		}
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for i, line := range grid {
		label := ""
		switch i {
		case 0:
			label = amount(most, curves[0].Unit)
		case chartRows - 1:
			label = "0"
		}
		fmt.Fprintf(w, "%10s |%s\n", label, strings.TrimRight(string(line), " "))
	}
	fmt.Fprintf(w, "%10s +%s\n%12s%-*s%.0f s\n", "", strings.Repeat("-", chartColumns), "", chartColumns-4, "0", seconds)
	for i, c := range curves {
		fmt.Fprintf(w, "%12c %s: %s\n", chartMarks[i], c.Name, amount(c.Points[len(c.Points)-1][1], c.Unit))
	}
}

// columnsOf gives a curve's value at each column: that of the last point before it.
func columnsOf(points [][2]float64, seconds float64) []float64 {
	out := make([]float64, chartColumns)
	at := 0
	for column := range out {
		until := seconds * float64(column+1) / chartColumns
		for at+1 < len(points) && points[at+1][0] <= until {
			at++
		}
		if len(points) > 0 {
			out[column] = points[at][1]
		}
	}
	return out
}

func amount(v float64, unit string) string {
	if unit == "bytes" {
		return mebibytes(int64(v))
	}
	return fmt.Sprintf("%.0f", v)
}
