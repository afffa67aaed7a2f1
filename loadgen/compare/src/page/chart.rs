//! Charts with lines, as SVG that takes its colours from the page.

use plotters::prelude::*;

use super::axis::Axis;
use crate::figure::Value;

/// How many colours the page has for contenders.
pub(crate) const COLOURS: usize = 12;

const SIZE: (u32, u32) = (640, 400);
// Stand for the page's colours, which are not known here; see `themed`.
const GRID: RGBColor = RGBColor(1, 0, 1);
const TEXT: RGBColor = RGBColor(1, 0, 2);

/// A chart.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) caption: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// The line of one contender.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) who: usize,
    pub(crate) points: Vec<(f64, Value)>,
}

impl Chart {
    /// Draws it.
    pub(crate) fn to_svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
            .map_err(|e| anyhow::anyhow!("cannot draw \"{}\": {e}", self.caption))?;
        Ok(themed(&svg))
    }

    fn draw(
        &self,
        area: DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn std::error::Error + '_>> {
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(52)
            .y_label_area_size(92)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let label = ("sans-serif", 18).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .x_desc(&*self.x.title)
            .y_desc(&*self.y.title)
            .label_style(label.clone())
            .axis_desc_style(label)
            .axis_style(TEXT)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        // The first contender, whom the others are held against, comes out on top.
        for line in self.lines.iter().rev() {
            let width = if line.who == 0 { 3 } else { 2 };
            let colour = RGBColor(2, 0, (line.who % COLOURS) as u8);
            let shown: Vec<&(f64, Value)> = line.points.iter().filter(|point| self.holds(point)).collect();
            let medians: Vec<(f64, f64)> = shown.iter().map(|(x, y)| (*x, y.median)).collect();
            chart.draw_series(LineSeries::new(medians.iter().copied(), colour.stroke_width(width)))?;
            let spread = |(x, y): &&(f64, Value)| {
                PathElement::new(vec![(*x, y.min), (*x, y.max)], colour.stroke_width(1))
            };
            chart.draw_series(shown.iter().map(spread))?;
            let filled = colour.filled();
            match line.who % 3 {
                0 => chart.draw_series(medians.iter().map(|at| Circle::new(*at, 4, filled)))?,
                1 => chart.draw_series(medians.iter().map(|at| TriangleMarker::new(*at, 5, filled)))?,
                _ => {
                    chart.draw_series(medians.iter().map(|at| Cross::new(*at, 4, colour.stroke_width(2))))?
                }
            };
        }
        area.present()?;
        Ok(())
    }

    fn holds(&self, (x, y): &(f64, Value)) -> bool {
        self.x.holds(*x) && [y.min, y.median, y.max].into_iter().all(|y| self.y.holds(y))
    }
}

/// Puts the page's colours, which change with its theme, in place of those that stand for them.
fn themed(svg: &str) -> String {
    let hex = |RGBColor(r, g, b)| format!("#{r:02X}{g:02X}{b:02X}");
    let svg = svg.replace(&hex(GRID), "var(--grid)").replace(&hex(TEXT), "var(--text)");
    (0..COLOURS).fold(svg, |svg, who| svg.replace(&hex(RGBColor(2, 0, who as u8)), &format!("var(--c{who})")))
}
