package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/explain"
)

func newInvestigateExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain [HORSEMAN]", Short: "What each horseman is, how to confirm it by hand, and the repair for each client library",
		Example:           "  ottla investigate explain\n  ottla investigate explain H1",
		ValidArgs:         explain.IDs(),
		ValidArgsFunction: cobra.FixedCompletions(explain.IDs(), cobra.ShellCompDirectiveNoFileComp),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage64Error{fmt.Errorf("ottla investigate explain takes one horseman, got %q", args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return explainIndex(cmd.OutOrStdout())
			}
			page, found := explain.Page(args[0])
			if !found {
				return usage64Error{fmt.Errorf("no page on %q: there are %s", args[0], strings.Join(explain.IDs(), ", "))}
			}
			_, err := io.WriteString(cmd.OutOrStdout(), page)
			return err
		},
	}
	return cmd
}

func explainIndex(w io.Writer) error {
	for _, id := range explain.IDs() {
		if _, err := fmt.Fprintf(w, "%s\n", explain.Title(id)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "\n`ottla investigate explain H1` prints one page.")
	return err
}
