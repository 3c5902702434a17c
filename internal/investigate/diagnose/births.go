package diagnose

type birthFacts struct {
	exact            bool
	seconds          float64
	perSecond, error float64
}
