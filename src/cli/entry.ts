/** Entry of the command. Signals first: one may come while the rest is still being loaded, and most of them kill by default. */
import { holdSignals } from '../master/signals.ts';

holdSignals();
void import('./main.ts').then(({ main }) => main(process.argv.slice(2)));
