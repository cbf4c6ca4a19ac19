/** Who was accepted, scored and paid in a round, as a table. */

import { grouped } from "./format";

export interface Decision {
  trainer: string;
  accepted: boolean;
  score: bigint;
  /** As it is shown. */
  pay: string;
}

export function Decisions({ slots }: { slots: Decision[] }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">trainer</th>
          <th scope="col">decision</th>
          <th scope="col" class="number">
            score
          </th>
          <th scope="col" class="number">
            pay
          </th>
        </tr>
      </thead>
      <tbody>
        {slots.map(({ trainer, accepted, score, pay }) => (
          <tr key={trainer}>
            <th scope="row">
              <code>{trainer}</code>
            </th>
            <td class={accepted ? "accepted" : "rejected"}>{accepted ? "✓ accepted" : "✗ rejected"}</td>
            <td class="number">{grouped(score)}</td>
            <td class="number">{pay}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
